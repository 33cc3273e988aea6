"""Noise schedules: a Gaussian process x_t = α_t x0 + σ_t ε in continuous time.

==============  ======================================  =======================================================
process         α_t                                     σ_t
==============  ======================================  =======================================================
`CosineVP`      cos(π t / 2)                            sin(π t / 2)                     (Nichol & Dhariwal 2021)
`ShiftedCosine` 1 / √(1 + f² tan²(π t / 2))             f tan(π t / 2) α_t               (Hoogeboom et al. 2023)
`LinearVP`      exp(−t² (β1 − β0) / 4 − t β0 / 2)       √(1 − α_t²)                      (Song et al. 2021)
`VE`            1                                       t, and t is the noise level σ    (Karras et al. 2022, EDM)
`RectifiedFlow` 1 − t                                   t                                (Liu et al. 2023)
==============  ======================================  =======================================================

Time runs from 0 (data) to ``t_max`` (noise). The log signal-to-noise ratio λ_t = log(α_t² / σ_t²) falls strictly, and
`time` is its inverse. Every method takes a NumPy array (grids are made on the host in float64) or a JAX array.
Discrete schedules, given as a table of ᾱ, are in `drf_jax.process.table`.

Here ε is standard normal (`NormalNoise`); a process may have noise of another law (`drf_jax.process.pfgmpp`).
"""

import dataclasses
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from drf_jax.typing import PRNGKeys, State


def namespace(t: Any) -> ModuleType:
    """``numpy`` for host values and ``jax.numpy`` for JAX arrays and tracers."""
    return np if isinstance(t, int | float | np.ndarray | np.generic) else jnp


@runtime_checkable
class Process(Protocol):
    """What the library asks of a noise schedule; a frozen (hashable) dataclass."""

    @property
    def t_max(self) -> float: ...

    def alpha(self, t: Any) -> Any: ...

    def sigma(self, t: Any) -> Any: ...

    def log_snr(self, t: Any) -> Any: ...

    def time(self, log_snr: Any) -> Any: ...

    def network_time(self, t: Any) -> Any:
        """The number a network is given for t, of order one."""
        ...

    def noise(self, normal: State, keys: PRNGKeys) -> State:
        """The process's ε ``[b, *state]``, from standard normal numbers and one key per sample."""
        ...


class NormalNoise:
    """ε is standard normal itself."""

    def noise(self, normal, keys):
        return normal


@dataclasses.dataclass(frozen=True)
class CosineVP(NormalNoise):
    """Variance-preserving cosine schedule. ``t_max`` keeps α positive: α(t_max) ≈ π (1 − t_max) / 2."""

    t_max: float = 0.999

    def alpha(self, t):
        return namespace(t).cos(t * (np.pi / 2))

    def sigma(self, t):
        return namespace(t).sin(t * (np.pi / 2))

    def log_snr(self, t):
        return -2 * namespace(t).log(namespace(t).tan(t * (np.pi / 2)))

    def time(self, log_snr):
        xp = namespace(log_snr)
        return xp.arctan(xp.exp(-log_snr / 2)) * (2 / np.pi)

    def network_time(self, t):
        return t


@dataclasses.dataclass(frozen=True)
class ShiftedCosine(NormalNoise):
    """The cosine schedule with σ_t / α_t times ``factor``: λ_t is 2 log(factor) lower ("simple diffusion", equation 4).

    What a large image shows at a glance survives noise that hides it in a small one, as neighbours average it out. So
    an image of side s gets with ``factor`` = s / s0 the noise that one of side s0 gets of the cosine schedule.
    """

    factor: float = 2.0
    t_max: float = 0.999

    def _ratio(self, t):
        return self.factor * namespace(t).tan(t * (np.pi / 2))

    def alpha(self, t):
        return 1 / namespace(t).hypot(1.0, self._ratio(t))

    def sigma(self, t):
        ratio = self._ratio(t)
        return ratio / namespace(t).hypot(1.0, ratio)

    def log_snr(self, t):
        return -2 * namespace(t).log(self._ratio(t))

    def time(self, log_snr):
        xp = namespace(log_snr)
        return xp.arctan(xp.exp(-log_snr / 2) / self.factor) * (2 / np.pi)

    def network_time(self, t):
        return t


@dataclasses.dataclass(frozen=True)
class LinearVP(NormalNoise):
    """Variance-preserving schedule with β(t) = β0 + t (β1 − β0), the continuous limit of DDPM's."""

    beta0: float = 0.1
    beta1: float = 20.0
    t_max: float = 1.0

    def _neg_log_alpha2(self, t):
        return t * (self.beta0 + t * (self.beta1 - self.beta0) / 2)

    def alpha(self, t):
        return namespace(t).exp(-self._neg_log_alpha2(t) / 2)

    def sigma(self, t):
        xp = namespace(t)
        return xp.sqrt(-xp.expm1(-self._neg_log_alpha2(t)))

    def log_snr(self, t):
        return -namespace(t).log(namespace(t).expm1(self._neg_log_alpha2(t)))

    def time(self, log_snr):
        xp = namespace(log_snr)
        b = xp.logaddexp(-log_snr, 0.0)  # −log α², from λ = −log(e^b − 1)
        slope = self.beta1 - self.beta0
        return 2 * b / (self.beta0 + xp.sqrt(self.beta0**2 + 2 * slope * b))

    def network_time(self, t):
        return t


@dataclasses.dataclass(frozen=True)
class VE(NormalNoise):
    """Variance-exploding process of EDM: t *is* the noise level σ, from 0 to ``t_max`` (σ_max)."""

    t_max: float = 80.0

    def alpha(self, t):
        return namespace(t).ones_like(t)

    def sigma(self, t):
        return t

    def log_snr(self, t):
        return -2 * namespace(t).log(t)

    def time(self, log_snr):
        return namespace(log_snr).exp(-log_snr / 2)

    def network_time(self, t):
        """EDM's c_noise = ln(σ) / 4 (Table 1), with σ kept above 1e-10."""
        xp = namespace(t)
        return xp.log(xp.maximum(t, 1e-10)) / 4


@dataclasses.dataclass(frozen=True)
class RectifiedFlow(NormalNoise):
    """Straight paths from data to noise; the velocity is ε − x0."""

    t_max: float = 1.0

    def alpha(self, t):
        return 1 - t

    def sigma(self, t):
        return t

    def log_snr(self, t):
        return 2 * namespace(t).log((1 - t) / t)

    def time(self, log_snr):
        return 1 / (1 + namespace(log_snr).exp(log_snr / 2))

    def network_time(self, t):
        return t
