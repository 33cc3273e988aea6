"""EDM's preconditioning (Karras et al. 2022, Table 1), for a state divided by α so that its noise level is σ/α.

D(x; σ) = c_skip(σ) x + c_out(σ) F(c_in(σ) x)                                     (1)
c_skip = σ_d² / (σ² + σ_d²)    c_out = σ σ_d / √(σ² + σ_d²)    c_in = 1 / √(σ² + σ_d²)
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

SIGMA_DATA = 0.5
"""Standard deviation σ_d of the data in [-1, 1]."""

Scale = Float[Array, "*shape"]


def coefficients(sigma: Scale, sigma_data: float = SIGMA_DATA) -> tuple[Scale, Scale, Scale]:
    """(c_skip, c_out, c_in) of equation (1)."""
    norm2 = sigma**2 + sigma_data**2
    return sigma_data**2 / norm2, sigma * sigma_data / jnp.sqrt(norm2), 1 / jnp.sqrt(norm2)
