"""Denoising: teach a network to undo the forward process (Ho et al. 2020; Kingma & Gao 2023).

    L = E w(λ_t) ‖x̂0(x_t, t) − x0‖²,      x_t = α_t x0 + σ_t ε                                        (1)

averaged over the state's entries. The weighting w decides in which quantity the error is plain
(`drf_jax.process.weighting`). A share of the labels is replaced by the null label, so that one network serves
classifier-free guidance (Ho & Salimans 2022).
"""

import dataclasses

import jax
import jax.numpy as jnp

from drf_jax.denoiser import Denoiser
from drf_jax.process.gaussian import perturb
from drf_jax.process.schedule import Process
from drf_jax.process.time import TimeDistribution
from drf_jax.process.weighting import Weighting
from drf_jax.typing import Cond, Metrics, Network, Params, PerExample, PRNGKey

T_MIN = 1e-3
"""The shortest training time, as a share of t_max: below it the error is all rounding."""


def drop_label(cond: Cond, key: PRNGKey, probability: float, null_label: int) -> Cond:
    """Replace ``cond["label"]`` by the null label with this probability, per example."""
    label = cond["label"]
    dropped = jax.random.bernoulli(key, probability, label.shape)
    return {**cond, "label": jnp.where(dropped, null_label, label)}


@dataclasses.dataclass(frozen=True)
class Denoising:
    """Equation (1) on batches ``{"x0": [b, *state], "cond": ...}``."""

    network: Network
    process: Process
    output: str
    weighting: Weighting
    times: TimeDistribution
    label_dropout: float = 0.0
    null_label: int = 0

    def __call__(
        self, params: Params, frozen: Params, batch: dict, key: PRNGKey
    ) -> tuple[PerExample, Metrics]:
        x0, cond = batch["x0"], batch["cond"]
        time_key, noise_key, drop_key = jax.random.split(key, 3)
        share = self.times(time_key, len(x0))
        t = self.process.t_max * (T_MIN + (1 - T_MIN) * share)
        x = perturb(self.process, x0, jax.random.normal(noise_key, x0.shape, x0.dtype), t)
        if self.label_dropout > 0:
            cond = drop_label(cond, drop_key, self.label_dropout, self.null_label)
        prediction = Denoiser(params, self.network, self.process, self.output)(x, t, cond)
        error = jnp.mean((prediction.x0 - x0) ** 2, axis=tuple(range(1, x0.ndim)))
        return self.weighting(self.process.log_snr(t)) * error, {"x0_error": error}
