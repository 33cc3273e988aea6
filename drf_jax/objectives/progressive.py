"""Progressive distillation: a student whose one step is two of the teacher's (Salimans & Ho 2022, arXiv 2202.00512).

The student's grid τ_0 > τ_2 > … > τ_{2N} is every second time of the teacher's. From z_t = α_t x0 + σ_t ε at a random
time t = τ_{2i} of it, with s = τ_{2i+1} and u = τ_{2i+2}, the teacher takes two DDIM steps,

    z_s = S(f_T(z_t, t), s),      z_u = S(f_T(z_s, s), u)                                              (1)

and the student's target is the x0 with which one DDIM step t → u ends there too (their appendix G):

    x̃ = (z_u − (σ_u/σ_t) z_t) / (α_u − (σ_u/σ_t) α_t)                                                  (2)

    L = w(λ_t) ‖x̂(z_t, t) − x̃‖²,      w(λ) = max(e^λ, 1)    "truncated SNR"                            (3)

The student starts as its teacher and, once trained, is the next stage's teacher: `halvings`. It should predict v (or
x0), since at t near 1 noise says nothing about x0. Its sampler is DDIM on its grid. The grid is data (`stage_grid`), so
one compiled update serves all stages.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from drf_jax.denoiser import DenoiserLike
from drf_jax.errors import UserError
from drf_jax.objectives.model import Model
from drf_jax.process.gaussian import perturb
from drf_jax.process.prediction import expand
from drf_jax.process.schedule import Process
from drf_jax.process.weighting import Weighting, truncated_snr
from drf_jax.sampling.transition import skip
from drf_jax.typing import Cond, Metrics, Params, PerExample, PRNGKey, State, Time

NODES = 4097
"""Times that the grid of a stage has room for."""


def stage_grid(
    grid: Float[np.ndarray, "n"],
) -> dict[str, Float[Array, "nodes"] | Int[Array, ""]]:
    """What the loss needs of the teacher's times τ_0 > … > τ_{2N}: in arrays of one size for every N.

    Returns:
      ``{"grid": τ and zeros, "steps": N}``.

    Raises:
      UserError: the teacher's steps are odd, none, or too many.
    """
    steps = len(grid) - 1
    if steps < 2 or steps % 2:
        raise UserError(f"progressive distillation: a teacher of {steps} steps; must be even")
    if len(grid) > NODES:
        raise UserError(
            f"progressive distillation: a teacher of {steps} steps; at most {NODES - 1} are possible"
        )
    return {
        "grid": jnp.asarray(np.pad(grid, (0, NODES - len(grid)))),
        "steps": jnp.int32(steps // 2),
    }


def halvings(steps: int, last: int = 1) -> tuple[int, ...]:
    """The students' steps, stage by stage: steps / 2, steps / 4, …, ``last``, for a teacher of ``steps`` steps.

    Raises:
      UserError: halving ``steps`` does not lead to ``last``.
    """
    stages = [steps]
    while stages[-1] > last and stages[-1] % 2 == 0:
        stages.append(stages[-1] // 2)
    if last < 1 or stages[-1] != last or len(stages) == 1:
        raise UserError(
            f"progressive distillation from {steps} to {last} steps: choose {last} times 2, 4, 8, …"
            if last >= 1
            else f"progressive distillation to {last} steps: choose at least 1"
        )
    return tuple(stages[1:])


def implied_x0(process: Process, z_t: State, z_u: State, t: Time, u: Time) -> State:
    """Equation (2): the x0 that a DDIM step from z_t at t to z_u at u must have predicted."""
    ratio = process.sigma(u) / process.sigma(t)
    scale = process.alpha(u) - ratio * process.alpha(t)
    return (z_u - expand(ratio, z_t) * z_t) / expand(scale, z_t)


def two_step_target(
    process: Process, teacher: DenoiserLike, z: State, t: Time, s: Time, u: Time, cond: Cond
) -> State:
    """Equations (1) and (2)."""
    z_s = skip(process, teacher(z, t, cond), s)
    z_u = skip(process, teacher(z_s, s, cond), u)
    return implied_x0(process, z, z_u, t, u)


@dataclasses.dataclass(frozen=True)
class Progressive:
    """Equation (3) on batches ``{"x0": [b, *state], "cond": ...}``; ``frozen["teacher"]`` are the teacher's parameters,
    the rest of ``frozen`` is of `stage_grid`.
    """

    student: Model
    teacher: Model
    process: Process
    weighting: Weighting = truncated_snr

    def __call__(
        self, params: Params, frozen: Params, batch: dict, key: PRNGKey
    ) -> tuple[PerExample, Metrics]:
        x0, cond = batch["x0"], batch["cond"]
        index_key, noise_key = jax.random.split(key)
        i = 2 * jax.random.randint(index_key, x0.shape[:1], 0, frozen["steps"])
        grid = frozen["grid"].astype(x0.dtype)
        t, s, u = grid[i], grid[i + 1], grid[i + 2]
        z = perturb(self.process, x0, jax.random.normal(noise_key, x0.shape, x0.dtype), t)
        target = two_step_target(self.process, self.teacher(frozen["teacher"]), z, t, s, u, cond)
        p = self.student(params)(z, t, cond)
        error = jnp.mean((p.x0 - target) ** 2, axis=tuple(range(1, x0.ndim)))
        return self.weighting(self.process.log_snr(t)) * error, {"x0_error": error}
