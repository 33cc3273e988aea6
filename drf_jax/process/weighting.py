"""Loss weightings w(λ) on the squared error of x0, as functions of the log signal-to-noise ratio λ.

A squared error in another quantity is a weighted error in x0 (Kingma & Gao 2023), for variance-preserving processes:

    ‖Δε‖² = snr ‖Δx0‖²        ‖Δv‖² = (snr + 1) ‖Δx0‖²        snr = e^λ
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

LogSNR = Float[Array, "*batch"]
Weighting = Callable[[LogSNR], LogSNR]


def x0(log_snr: LogSNR) -> LogSNR:
    """Plain squared error in x0."""
    return jnp.ones_like(log_snr)


def eps(log_snr: LogSNR) -> LogSNR:
    """Squared error in ε (Ho et al. 2020, L_simple)."""
    return jnp.exp(log_snr)


def v(log_snr: LogSNR) -> LogSNR:
    """Squared error in v (Salimans & Ho 2022, "SNR+1")."""
    return jnp.exp(log_snr) + 1


def truncated_snr(log_snr: LogSNR) -> LogSNR:
    """max(snr, 1) (Salimans & Ho 2022): never forgets the noisy end."""
    return jnp.maximum(jnp.exp(log_snr), 1)


def min_snr(log_snr: LogSNR) -> LogSNR:
    """min(snr, 5) (Hang et al. 2023, γ = 5)."""
    return jnp.minimum(jnp.exp(log_snr), 5)


def edm(log_snr: LogSNR) -> LogSNR:
    """(σ² + σ_data²) / (σ σ_data)² with σ² = 1/snr and σ_data = 0.5 (Karras et al. 2022, Table 1)."""
    return jnp.exp(log_snr) + 4


WEIGHTINGS: dict[str, Weighting] = {
    f.__name__: f for f in (x0, eps, v, truncated_snr, min_snr, edm)
}
