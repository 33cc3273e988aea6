"""Consistency distillation and consistency training (Song et al. 2023; Song & Dhariwal 2023, arXiv 2310.14189).

Neighbours on one trajectory must have the same start. With noise levels σ_0 < … < σ_M (`discretisation`), a consistency
function f_θ with f(x, t_min) = x (`drf_jax.process.boundary`) and x_{n+1} = α x0 + σ ε at level n + 1,

    L = w(σ_n, σ_{n+1}) d(f_θ(x_{n+1}, t_{n+1}), f_θ⁻(x_n, t_n))                                       (1)

The neighbour x_n is made in one of two ways:

`TeacherStep`  distillation: one step of an ODE solver (Heun, DDIM) with the teacher's prediction       (2)
`same_noise`   training without a teacher: x_n = α x0 + σ ε with the same x0 and ε                      (3)

The improved recipe for (3) is the default: log-normal proposal, pseudo-Huber d, w = 1/(σ_{n+1} − σ_n), θ⁻ = θ without
gradient, M doubling from 10 to 1280. Song et al. distil with the uniform proposal, w = 1, an EMA target and M = 17.

The two ends are images, so d may have a further part, λ times their distance in a frozen classifier's maps
(`drf_jax.objectives.perceptual`, equation 2), as Song et al. measure it by LPIPS.

The levels are σ̃ = σ/α, so a variance-preserving process is treated as the variance-exploding one of x/α.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from drf_jax.consistency import ConsistencyFunction
from drf_jax.objectives.discretisation import Discretisation, Level, LogNormal, Proposal
from drf_jax.objectives.distance import Distance, PseudoHuber
from drf_jax.objectives.model import Model
from drf_jax.objectives.perceptual import Features, map_distance
from drf_jax.objectives.target import TARGETS, check_target
from drf_jax.process.boundary import ConsistencyBoundary
from drf_jax.process.gaussian import perturb
from drf_jax.process.schedule import Process
from drf_jax.sampling.step import Heun, Step
from drf_jax.typing import Cond, Metrics, Params, PerExample, PRNGKey, State, Time

PairWeighting = Callable[[Level, Level], Level]


def equal(lower: Level, upper: Level) -> Level:
    """w = 1."""
    return jnp.ones_like(lower)


def inverse_gap(lower: Level, upper: Level) -> Level:
    """w = 1/(σ_{n+1} − σ_n)."""
    return 1 / (upper - lower)


PAIR_WEIGHTINGS: dict[str, PairWeighting] = {f.__name__: f for f in (equal, inverse_gap)}


@runtime_checkable
class Neighbour(Protocol):
    def __call__(
        self,
        frozen: Params,
        process: Process,
        x0: State,
        eps: State,
        x: State,
        t: Time,
        s: Time,
        cond: Cond,
    ) -> State:
        """The state at s < t that shares a trajectory with x = α x0 + σ ε at t."""
        ...


def same_noise(
    frozen: Params,
    process: Process,
    x0: State,
    eps: State,
    x: State,
    t: Time,
    s: Time,
    cond: Cond,
) -> State:
    """Equation (3)."""
    return perturb(process, x0, eps, s)


@dataclasses.dataclass(frozen=True)
class TeacherStep:
    """Equation (2), with the teacher's parameters ``frozen["teacher"]``."""

    teacher: Model
    solver: Step = Heun()

    def __call__(
        self,
        frozen: Params,
        process: Process,
        x0: State,
        eps: State,
        x: State,
        t: Time,
        s: Time,
        cond: Cond,
    ) -> State:
        return self.solver(self.teacher(frozen["teacher"]), process, x, t, s, cond)


@dataclasses.dataclass(frozen=True)
class Consistency:
    """Equation (1) on batches ``{"x0": [b, *state], "cond": ..., "intervals": [b] int, M for each example}``.

    With a ``perceptual_weight`` λ, ``features`` are the maps of the classifier with the parameters
    ``frozen["features"]``.
    """

    model: Model
    cut: Discretisation
    neighbour: Neighbour
    target: str = "stop_gradient"
    proposal: Proposal = LogNormal()
    distance: Distance = PseudoHuber()
    weighting: PairWeighting = inverse_gap
    perceptual_weight: float = 0.0
    features: Features | None = None

    def __post_init__(self):
        check_target(self.target)

    def function(self, params: Params) -> ConsistencyFunction:
        """f_θ."""
        boundary = ConsistencyBoundary(self.cut.sigma_min)
        return ConsistencyFunction(self.model(params), self.cut.process, boundary)

    def __call__(
        self, params: Params, frozen: Params, batch: dict, key: PRNGKey
    ) -> tuple[PerExample, Metrics]:
        x0, cond, intervals, process = (
            batch["x0"],
            batch["cond"],
            batch["intervals"],
            self.cut.process,
        )
        index_key, noise_key = jax.random.split(key)
        n = self.proposal(index_key, self.cut, intervals)
        lower, upper = self.cut.sigma(n, intervals), self.cut.sigma(n + 1, intervals)
        t, s = self.cut.time(upper), self.cut.time(lower)
        eps = jax.random.normal(noise_key, x0.shape, x0.dtype)
        x = perturb(process, x0, eps, t)
        x_s = jax.lax.stop_gradient(self.neighbour(frozen, process, x0, eps, x, t, s, cond))
        target = self.function(TARGETS[self.target](params, frozen))(x_s, s, cond)
        end = self.function(params)(x, t, cond)
        metrics = {"distance": self.distance(end, target)}
        if self.perceptual_weight:
            maps = lambda image: self.features(frozen["features"], image)
            metrics["perceptual"] = map_distance(maps(end), maps(target))
        distance = metrics["distance"] + self.perceptual_weight * metrics.get("perceptual", 0.0)
        return self.weighting(lower, upper) * distance, metrics
