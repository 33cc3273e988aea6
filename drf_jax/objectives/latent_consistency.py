"""Latent consistency distillation (Luo et al. 2023, arXiv 2310.04378), on states of any kind.

The teacher's fine grid τ_0 > … > τ_n is walked k steps at once: with t = τ_i, s = τ_{i+k} (the last time where the grid
ends), x_t = α x0 + σ ε and the guided teacher p_w (`drf_jax.objectives.guidance`),

    x̂_s = S(p_w(x_t, t), s)                                          one DDIM step of the guided teacher (1)
    L = d(f_θ(x_t, t, w), f_θ⁻(x̂_s, s, w))                                                             (2)

The student is shown w, drawn uniformly for each example by `drf_jax.objectives.guidance.with_guidance`, and f mixes
its x0 with the state by `drf_jax.process.boundary.LCMBoundary`, whose ``t_min`` is the grid's last time. Wrapped by
`drf_jax.networks.lora.with_lora` this is LCM-LoRA.
"""

import dataclasses

import jax
import jax.numpy as jnp

from drf_jax.consistency import ConsistencyFunction
from drf_jax.errors import UserError
from drf_jax.objectives.distance import Distance, Huber
from drf_jax.objectives.model import Model
from drf_jax.objectives.target import TARGETS, check_target
from drf_jax.process.boundary import LCMBoundary
from drf_jax.process.gaussian import perturb
from drf_jax.process.schedule import Process
from drf_jax.sampling.transition import skip
from drf_jax.typing import Metrics, Params, PerExample, PRNGKey


@dataclasses.dataclass(frozen=True)
class LatentConsistency:
    """Equation (2) on batches ``{"x0": [b, *state], "cond": ...}``; ``frozen["teacher"]`` are the teacher's parameters.

    ``grid`` are the teacher's times τ, down to ``boundary.t_min``; ``stride`` is k.
    """

    student: Model
    teacher: Model
    process: Process
    grid: tuple[float, ...]
    stride: int = 1
    boundary: LCMBoundary = LCMBoundary()
    target: str = "ema"
    distance: Distance = Huber()

    def __post_init__(self):
        check_target(self.target)
        if not 1 <= self.stride < len(self.grid):
            steps = len(self.grid) - 1
            raise UserError(f"stride = {self.stride}: choose 1 to {steps}, the grid's steps")
        if self.grid[-1] < self.boundary.t_min:
            raise UserError(
                f"grid ends at {self.grid[-1]}: must not be below t_min = {self.boundary.t_min}"
            )

    def function(self, params: Params) -> ConsistencyFunction:
        """f_θ."""
        return ConsistencyFunction(self.student(params), self.process, self.boundary)

    def __call__(
        self, params: Params, frozen: Params, batch: dict, key: PRNGKey
    ) -> tuple[PerExample, Metrics]:
        x0, cond, last = batch["x0"], batch["cond"], len(self.grid) - 1
        index_key, noise_key = jax.random.split(key)
        i = jax.random.randint(index_key, x0.shape[:1], 0, last)
        grid = jnp.asarray(self.grid, x0.dtype)
        t, s = grid[i], grid[jnp.minimum(i + self.stride, last)]
        x = perturb(self.process, x0, jax.random.normal(noise_key, x0.shape, x0.dtype), t)
        x_s = skip(self.process, self.teacher(frozen["teacher"])(x, t, cond), s)
        target = self.function(TARGETS[self.target](params, frozen))(x_s, s, cond)
        return self.distance(self.function(params)(x, t, cond), target), {}
