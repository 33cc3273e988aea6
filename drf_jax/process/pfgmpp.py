"""PFGM++ (Xu et al. 2023, arXiv 2302.04265): data as charges in N + D dimensions, D → ∞ being diffusion.

The electric field of the data, extended by D dimensions, is followed from a large radius r in the extra dimensions down
to 0. With r = σ √D ("transfer"), its schedules, preconditioning and samplers are EDM's, in σ. What differs is the
perturbation kernel, p_r(x | x0) ∝ (‖x − x0‖² + r²)^{−(N+D)/2}:

    x = x0 + R u,   u uniform on the sphere,   R² / r² ~ BetaPrime(N/2, D/2)                             (1)

BetaPrime(N/2, D/2) is χ²_N / χ²_D, and √(χ²_N) u a standard normal ε. So (1) is

    x = x0 + σ ε √(D / χ²_D)                                                                             (2)

a multivariate Student-t of D degrees of freedom, scale σ: heavy tails for small D, and x0 + σ ε for D → ∞. At σ_max
the data no longer matter and (2) around 0 is the prior.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.errors import UserError
from drf_jax.process.prediction import expand
from drf_jax.process.schedule import VE
from drf_jax.typing import PRNGKey, PRNGKeys, State


@dataclasses.dataclass(frozen=True)
class PFGMPP(VE):
    """EDM's process (t is σ, up to ``t_max``) with D = ``dimensions`` extra dimensions."""

    dimensions: float = 2048.0

    def __post_init__(self):
        if self.dimensions <= 0:
            raise UserError(f"dimensions = {self.dimensions}: must be positive")

    def radius(self, t):
        """r = σ √D."""
        return t * self.dimensions**0.5

    def tails(self, keys: PRNGKeys) -> Float[Array, "b"]:
        """√(D / χ²_D), by which (2) stretches a normal sample."""
        half = self.dimensions / 2
        chi2_over_2 = jax.vmap(lambda key: jax.random.gamma(key, half))(keys)
        return jnp.sqrt(half / chi2_over_2)

    def perturb(self, key: PRNGKey, x0: State, sigma: Float[Array, "b"]) -> State:
        """Equation (2), the whole batch from one key."""
        of_normal, of_tails = jax.random.split(key)
        eps = jax.random.normal(of_normal, x0.shape, x0.dtype)
        scale = sigma * self.tails(jax.random.split(of_tails, len(x0))).astype(x0.dtype)
        return x0 + expand(scale, x0) * eps

    def prior(self, eps: State, keys: PRNGKeys, t: float | None = None) -> State:
        """The sampler's starting state at time t (``t_max`` unless given), from standard normal ε."""
        t = self.t_max if t is None else t
        return t * expand(self.tails(keys), eps) * eps
