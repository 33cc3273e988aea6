"""PFGM++ training: EDM's denoising with another perturbation kernel (Xu et al. 2023, arXiv 2302.04265).

    ln σ ~ N(P_mean, P_std²),   x ~ kernel(x | x0, σ)                                                  (1)
    L = w(σ) ‖D(x, σ) − x0‖²,   w(σ) = (σ² + σ_d²) / (σ σ_d)²                                          (2)

D is the denoiser of a variance-exploding process (`drf_jax.process.schedule.VE`) whose time is σ = r/√D: with that, the
network, its preconditioning, w and the sampler are EDM's for every dimension D, and the Gaussian kernel x0 + σ ε is
EDM itself. The kernel is an argument, ``perturb(key, x0 [b, *state], sigma [b]) -> x [b, *state]``.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from drf_jax.objectives.denoising import drop_label
from drf_jax.objectives.distance import squared
from drf_jax.objectives.model import Model
from drf_jax.process import weighting
from drf_jax.typing import Metrics, Params, PerExample, PRNGKey, State, Time

Perturb = Callable[[PRNGKey, State, Time], State]


@dataclasses.dataclass(frozen=True)
class PerturbedDenoising:
    """Equation (2) on batches ``{"x0": [b, *state], "cond": ...}``; labels are dropped as in `Denoising`."""

    model: Model
    perturb: Perturb
    p_mean: float = -1.2
    p_std: float = 1.2
    label_dropout: float = 0.0
    null_label: int = 0

    def __call__(
        self, params: Params, frozen: Params, batch: dict, key: PRNGKey
    ) -> tuple[PerExample, Metrics]:
        x0, cond = batch["x0"], batch["cond"]
        sigma_key, kernel_key, drop_key = jax.random.split(key, 3)
        z = jax.random.normal(sigma_key, x0.shape[:1], x0.dtype)
        sigma = jnp.exp(self.p_mean + self.p_std * z)
        x = self.perturb(kernel_key, x0, sigma)
        if self.label_dropout > 0:
            cond = drop_label(cond, drop_key, self.label_dropout, self.null_label)
        error = squared(self.model(params)(x, sigma, cond).x0, x0)
        return weighting.edm(-2 * jnp.log(sigma)) * error, {"x0_error": error}
