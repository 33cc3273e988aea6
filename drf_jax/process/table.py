"""Discrete schedules: a Gaussian process from a table of ᾱ (DDPM, Stable Diffusion).

With T training steps the table holds ᾱ_0 … ᾱ_{T−1}, ᾱ_i = ∏_{j≤i} (1 − β_j). Its index i becomes the continuous
time t = (i + 1) / T, and t = 0 stands for "before the first step", where ᾱ is 1 (or ᾱ_0, as Stable Diffusion does).
So x_t = √ᾱ x0 + √(1 − ᾱ) ε at every index; between two indices log ᾱ is interpolated linearly.

``linear`` β_0 … β_{T−1} evenly spaced (Ho et al. 2020); ``scaled_linear`` √β evenly spaced (Rombach et al. 2022);
``cosine`` β_i = min(1 − f((i + 1)/T) / f(i/T), 0.999), f(u) = cos²((u + 0.008) / 1.008 · π/2) (Nichol & Dhariwal 2021).
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float

from drf_jax.errors import UserError
from drf_jax.process.schedule import NormalNoise, namespace


def linear_betas(steps: int, beta0: float, beta1: float) -> Float[np.ndarray, "steps"]:
    return np.linspace(beta0, beta1, steps)


def scaled_linear_betas(steps: int, beta0: float, beta1: float) -> Float[np.ndarray, "steps"]:
    return np.linspace(beta0**0.5, beta1**0.5, steps) ** 2


def cosine_betas(steps: int, beta0: float, beta1: float) -> Float[np.ndarray, "steps"]:
    """β are clipped to 0.999; the two end points are not used."""
    f = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - f[1:] / f[:-1], 0.999)


BETAS = {"linear": linear_betas, "scaled_linear": scaled_linear_betas, "cosine": cosine_betas}


@dataclasses.dataclass(frozen=True)
class Table(NormalNoise):
    """A variance-preserving process given by ``steps`` discrete β; t = (index + 1) / steps."""

    betas: str = "linear"
    steps: int = 1000
    beta0: float = 1e-4
    beta1: float = 0.02
    final_alpha_bar: float | None = 1.0
    """ᾱ at t = 0; ``None`` stands for ᾱ_0 (diffusers' ``set_alpha_to_one=False``)."""

    t_max: float = dataclasses.field(default=1.0, init=False)

    def __post_init__(self):
        if self.betas not in BETAS:
            raise UserError(f"process.betas = {self.betas!r}: choose one of {sorted(BETAS)}")

    @functools.cached_property
    def alpha_bar(self) -> Float[np.ndarray, "steps"]:
        """ᾱ_i for i = 0 … steps − 1, float64."""
        return np.cumprod(1 - BETAS[self.betas](self.steps, self.beta0, self.beta1))

    @functools.cached_property
    def _log_alpha_bar(self) -> Float[np.ndarray, "nodes"]:
        final = self.alpha_bar[0] if self.final_alpha_bar is None else self.final_alpha_bar
        return np.log(np.concatenate([[final], self.alpha_bar]))

    def _log_alpha2(self, t):
        xp = namespace(t)
        # A copy: JAX remembers a host array that it made a constant of, in the precision of that moment.
        nodes = xp.asarray(self._log_alpha_bar.copy())
        return xp.interp(t * self.steps, xp.arange(self.steps + 1.0), nodes)

    def alpha(self, t):
        return namespace(t).exp(self._log_alpha2(t) / 2)

    def sigma(self, t):
        xp = namespace(t)
        return xp.sqrt(-xp.expm1(self._log_alpha2(t)))

    def log_snr(self, t):
        xp = namespace(t)
        log_alpha2 = self._log_alpha2(t)
        return log_alpha2 - xp.log(-xp.expm1(log_alpha2))

    def time(self, log_snr):
        xp = namespace(log_snr)
        log_alpha2 = -xp.logaddexp(-log_snr, 0.0)
        nodes = xp.asarray(self._log_alpha_bar[::-1])
        return xp.interp(log_alpha2, nodes, xp.arange(self.steps, -1.0, -1.0)) / self.steps

    def network_time(self, t):
        return t

    def time_of(self, index):
        """Time of a table index; an index below 0 is the end of the chain, t = 0."""
        return np.maximum(np.asarray(index, np.float64) + 1, 0) / self.steps
