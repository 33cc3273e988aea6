"""EDM's stochastic sampler (Karras et al. 2022, arXiv 2206.00364, Alg. 2) as a step.

In units of the data, x/α, a Gaussian process has the one noise level ς = σ/α, and the probability-flow ODE is
d(x/α) = ε dς. A step raises the level from ς_t to ς̂ with fresh noise z ("churn"), then takes Heun's step down to s:

    ς̂ = (1 + γ) ς_t,     x̂/α̂ = x/α_t + √(ς̂² − ς_t²) S_noise z                                        (1)
    x_s = S(p̂, s) + ½ α_s (ς_s − ς̂) (ε_s − ε̂)                                                        (2)

where p̂ is the prediction at x̂, S(p̂, s) = α_s x̂0 + σ_s ε̂ Euler's step, and ε_s the noise predicted there. For
EDM's own process α = 1 and ς is time; here any process will do. γ = min(S_churn / n, √2 − 1) for n steps, applied
where S_min ≤ ς_t ≤ S_max; with γ = 0 this is EDM's Alg. 1.

The last interval is Euler's step without churn: every choice of the paper has S_min above the grid's last level, where
Alg. 2 does the same. ς̂ stays within the process: its time is at most t_max. Where α_t is 0 (pure noise) there is no
churn and no correction.
"""

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp

from drf_jax.denoiser import DenoiserLike
from drf_jax.errors import UserError
from drf_jax.process.prediction import expand
from drf_jax.process.schedule import Process
from drf_jax.sampling.step import DDIM
from drf_jax.sampling.transition import skip
from drf_jax.typing import Cond, State, Time


def churn_gamma(s_churn: float, steps: int) -> float:
    """γ for ``steps`` steps with the paper's S_churn."""
    return min(s_churn / steps, math.sqrt(2) - 1)


def churn(
    process: Process,
    x: State,
    t: Time,
    raised: Time,
    s_noise: float,
    noise: State,
) -> State:
    """Equation (1): the state at the time ``raised``, not below t."""
    known = process.alpha(t) > 1e-4
    a_t, a_hat = jnp.where(known, process.alpha(t), 1), jnp.where(known, process.alpha(raised), 1)
    variance = (process.sigma(raised) / a_hat) ** 2 - (process.sigma(t) / a_t) ** 2
    added = jnp.sqrt(jnp.where(raised > t, jnp.maximum(variance, 0), 0))
    return expand(a_hat, x) * (x / expand(a_t, x) + s_noise * expand(added, x) * noise)


@dataclasses.dataclass(frozen=True)
class EDM:
    """γ from `churn_gamma`; levels between ``s_min`` and ``s_max`` (in units of σ/α) are raised."""

    gamma: float = 0.0
    s_min: float = 0.0
    s_max: float = math.inf
    s_noise: float = 1.0
    evaluations: ClassVar[int] = 2

    def __post_init__(self):
        if not 0 <= self.gamma <= math.sqrt(2) - 1:
            raise UserError(f"gamma = {self.gamma}: must be from 0 to √2 − 1")

    @property
    def stochastic(self):
        return self.gamma > 0

    @property
    def final(self):
        return DDIM()

    def raised(self, process: Process, t: Time) -> Time:
        """The time whose level is ς̂."""
        level = jnp.exp(-process.log_snr(t) / 2)
        up = jnp.minimum(process.time(-2 * jnp.log(level * (1 + self.gamma))), process.t_max)
        churned = (level >= self.s_min) & (level <= self.s_max) & (process.alpha(t) > 1e-4)
        return jnp.where(churned, jnp.maximum(up, t), t)

    def __call__(
        self,
        denoiser: DenoiserLike,
        process: Process,
        x: State,
        t: Time,
        s: Time,
        cond: Cond = None,
        noise: State | None = None,
    ) -> State:
        if self.stochastic:
            up = self.raised(process, t)
            x, t = churn(process, x, t, up, self.s_noise, noise), up
        p = denoiser(x, t, cond)
        euler = skip(process, p, s)
        eps = denoiser(euler, s, cond).eps
        a_t = process.alpha(t)
        level = process.sigma(t) / jnp.where(a_t > 1e-4, a_t, 1)
        weight = jnp.where(a_t > 1e-4, (process.sigma(s) - process.alpha(s) * level) / 2, 0)
        return euler + expand(weight, x) * (eps - p.eps)
