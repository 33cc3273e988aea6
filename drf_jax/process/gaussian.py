"""The forward law of a process, x_t = α_t x0 + σ_t ε: for normal ε, q(x_t | x0) = N(α_t x0, σ_t² I).

ε is the process's own noise (`drf_jax.process.schedule.Process.noise`).
"""

from drf_jax.process.prediction import expand
from drf_jax.process.schedule import Process
from drf_jax.typing import State, Time


def perturb(process: Process, x0: State, eps: State, t: Time) -> State:
    """x_t = α_t x0 + σ_t ε."""
    return expand(process.alpha(t), x0) * x0 + expand(process.sigma(t), x0) * eps


def prior(process: Process, eps: State, t: float | None = None) -> State:
    """The sampler's starting state σ_t ε at time t (``t_max`` unless given)."""
    t = process.t_max if t is None else t
    return float(process.sigma(t)) * eps
