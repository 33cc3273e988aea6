"""PFGM++ (Xu et al. 2023, arXiv 2302.04265): data as charges in N + D dimensions, D → ∞ being diffusion.

The electric field of the data, extended by D dimensions, is followed from a large radius r in the extra dimensions down
to 0. With r = σ √D ("transfer"), its schedule, preconditioning, weighting and samplers are EDM's, in σ. What differs is
the perturbation kernel, p_r(x | x0) ∝ (‖x − x0‖² + r²)^{−(N+D)/2}:

    x = x0 + R u,   u uniform on the sphere,   R² / r² ~ BetaPrime(N/2, D/2)                             (1)

BetaPrime(N/2, D/2) is χ²_N / χ²_D, and √(χ²_N) u a standard normal z. So (1) is

    x = x0 + σ ε,    ε = z √(D / χ²_D)                                                                   (2)

with noise ε of the multivariate Student-t law of D degrees of freedom: heavy tails for small D, normal for D → ∞. At
σ_max the data no longer matter and σ_max ε is the prior. So PFGM++ is EDM's process with another noise, and nothing
else: objectives and samplers ask the process for its noise.

A process with α_t ≠ 1 is EDM's in x / α_t, with σ_t / α_t for σ (Karras et al. 2022, Table 1). So (2) makes a PFGM++ of
every process whose noise is normal, with r = √D σ_t / α_t (`Augmented`): a teacher of any of them can go on as one.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.errors import UserError
from drf_jax.process.prediction import expand
from drf_jax.process.schedule import VE, Process
from drf_jax.typing import PRNGKeys

TAILS = 0x7461696C
"""Folded into a sample's key for χ²_D."""


class HeavyTails:
    """The noise of D = ``dimensions`` extra dimensions."""

    dimensions: float

    def __post_init__(self):
        if self.dimensions <= 0:
            raise UserError(f"dimensions = {self.dimensions}: must be positive")

    def radius(self, t):
        """r = √D σ_t / α_t."""
        return self.sigma(t) / self.alpha(t) * self.dimensions**0.5

    def tails(self, keys: PRNGKeys) -> Float[Array, "b"]:
        """√(D / χ²_D), by which (2) stretches a normal sample."""
        half = self.dimensions / 2
        draw = lambda key: jax.random.gamma(jax.random.fold_in(key, TAILS), half)
        return jnp.sqrt(half / jax.vmap(draw)(keys))

    def noise(self, normal, keys):
        """ε of equation (2)."""
        return normal * expand(self.tails(keys), normal)


@dataclasses.dataclass(frozen=True)
class PFGMPP(HeavyTails, VE):
    """EDM's process (t is σ, up to ``t_max``)."""

    dimensions: float = 2048.0


@dataclasses.dataclass(frozen=True)
class Augmented(HeavyTails):
    """The schedule of ``process``, of normal noise, with the noise of extra dimensions."""

    process: Process
    dimensions: float = 2048.0

    @property
    def t_max(self):
        return self.process.t_max

    def alpha(self, t):
        return self.process.alpha(t)

    def sigma(self, t):
        return self.process.sigma(t)

    def log_snr(self, t):
        return self.process.log_snr(t)

    def time(self, log_snr):
        return self.process.time(log_snr)

    def network_time(self, t):
        return self.process.network_time(t)
