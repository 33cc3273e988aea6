"""One step t → s of a serial sampler: ``step(denoiser, process, x, t, s, cond, noise) -> x_s``.

A step is a frozen dataclass (hashable, so it can be static under jit). ``noise`` is a standard normal array like x for
stochastic steps and ``None`` otherwise. ``final`` is the step used for the last interval, ``evaluations`` what one step
costs.

`DDIM`   x_s = α_s x0 + √(σ_s² − η² ς²) ε + η ς z,   ς² = `posterior_variance`     (Song et al. 2021, eq. 12, 16)
`DDPM`   x_s = mean of q(x_s | x_t, x0) + ς z                                      (Ho et al. 2020, eq. 6, 7)
`Euler`  x_s = x + (s − t) f(x, t),   f = α̇_t x0 + σ̇_t ε, the probability-flow ODE in the process's own time
`Heun`   the trapezoidal rule on the same ODE, Euler on the last interval          (Karras et al. 2022, Alg. 1)
"""

import dataclasses
from typing import ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from drf_jax.denoiser import DenoiserLike
from drf_jax.process.prediction import Prediction, expand
from drf_jax.process.schedule import Process
from drf_jax.sampling.transition import skip
from drf_jax.typing import Cond, State, Time


@runtime_checkable
class Step(Protocol):
    evaluations: int

    @property
    def stochastic(self) -> bool: ...

    @property
    def final(self) -> "Step": ...

    def __call__(
        self,
        denoiser: DenoiserLike,
        process: Process,
        x: State,
        t: Time,
        s: Time,
        cond: Cond = None,
        noise: State | None = None,
    ) -> State: ...


def posterior_variance(process: Process, t: Time, s: Time) -> Time:
    """Variance of q(x_s | x_t, x0): σ_s²/σ_t² (σ_t² − (α_t/α_s)² σ_s²)."""
    a_t, s_t, a_s, s_s = process.alpha(t), process.sigma(t), process.alpha(s), process.sigma(s)
    return (s_s / s_t) ** 2 * jnp.maximum(s_t**2 - (a_t / a_s * s_s) ** 2, 0)


@dataclasses.dataclass(frozen=True)
class DDIM:
    eta: float = 0.0
    evaluations: ClassVar[int] = 1

    @property
    def stochastic(self):
        return self.eta > 0

    @property
    def final(self):
        return self

    def __call__(self, denoiser, process, x, t, s, cond=None, noise=None):
        p = denoiser(x, t, cond)
        if not self.stochastic:
            return skip(process, p, s)
        a_t, s_t, a_s, s_s = process.alpha(t), process.sigma(t), process.alpha(s), process.sigma(s)
        # σ_s² − ς² = k²; the difference itself would leave rounding errors only near t = 1.
        k = a_t * s_s**2 / (a_s * s_t)
        eps_scale = jnp.sqrt(jnp.maximum((1 - self.eta**2) * s_s**2 + (self.eta * k) ** 2, 0))
        spread = self.eta * jnp.sqrt(posterior_variance(process, t, s))
        mean = expand(a_s, x) * p.x0 + expand(eps_scale, x) * p.eps
        return mean + expand(spread, x) * noise


@dataclasses.dataclass(frozen=True)
class DDPM:
    evaluations: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    @property
    def final(self):
        return self

    def __call__(self, denoiser, process, x, t, s, cond=None, noise=None):
        x0 = denoiser(x, t, cond).x0
        a_t, s_t, a_s, s_s = process.alpha(t), process.sigma(t), process.alpha(s), process.sigma(s)
        from_x = (a_t / a_s) * (s_s / s_t) ** 2
        from_x0 = a_s - from_x * a_t
        variance = posterior_variance(process, t, s)
        mean = expand(from_x, x) * x + expand(from_x0, x) * x0
        return mean + expand(jnp.sqrt(variance), x) * noise


def drift(process: Process, p: Prediction, t: Time) -> State:
    """dx/dt = α̇_t x0 + σ̇_t ε of the probability-flow ODE (Song et al. 2021)."""
    _, alpha_dot = jax.jvp(process.alpha, (t,), (jnp.ones_like(t),))
    _, sigma_dot = jax.jvp(process.sigma, (t,), (jnp.ones_like(t),))
    return expand(alpha_dot, p.x0) * p.x0 + expand(sigma_dot, p.x0) * p.eps


@dataclasses.dataclass(frozen=True)
class Euler:
    evaluations: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    @property
    def final(self):
        return self

    def __call__(self, denoiser, process, x, t, s, cond=None, noise=None):
        return x + expand(s - t, x) * drift(process, denoiser(x, t, cond), t)


@dataclasses.dataclass(frozen=True)
class Heun:
    evaluations: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False

    @property
    def final(self):
        return Euler()

    def __call__(self, denoiser, process, x, t, s, cond=None, noise=None):
        d_t = drift(process, denoiser(x, t, cond), t)
        euler = x + expand(s - t, x) * d_t
        d_s = drift(process, denoiser(euler, s, cond), s)
        return x + expand(s - t, x) * (d_t + d_s) / 2


STEPS = {"ddim": DDIM, "ddpm": DDPM, "euler": Euler, "heun": Heun}


def evaluations(step: Step, steps: int) -> int:
    """Network evaluations (all sequential) of ``steps`` steps of a serial sampler."""
    return (steps - 1) * step.evaluations + step.final.evaluations
