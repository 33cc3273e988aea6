"""Denoising: teach a network to undo the forward process (Ho et al. 2020; Kingma & Gao 2023).

    L = E w(λ_t) ‖x̂0(x_t, t) − x0‖²,      x_t = α_t x0 + σ_t ε                                        (1)

averaged over the state's entries. The weighting w decides in which quantity the error is plain
(`drf_jax.process.weighting`). EDM (Karras et al. 2022) is (1) for its process, output, weighting and log-normal times;
PFGM++ (Xu et al. 2023) is EDM with the noise ε of `drf_jax.process.pfgmpp`. The conditioning is dropped
now and then (`drf_jax.objectives.dropout`), so that one network serves classifier-free guidance.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from drf_jax.denoiser import Denoiser
from drf_jax.objectives.dropout import drop_condition
from drf_jax.process.gaussian import perturb
from drf_jax.process.schedule import Process
from drf_jax.process.time import TimeDistribution
from drf_jax.process.weighting import Weighting
from drf_jax.typing import Metrics, Network, Params, PerExample, PRNGKey


@dataclasses.dataclass(frozen=True)
class Denoising:
    """Equation (1) on batches ``{"x0": [b, *state], "cond": ...}``."""

    network: Network
    process: Process
    output: str
    weighting: Weighting
    times: TimeDistribution
    dropout: float = 0.0
    null: Mapping[str, jax.Array] = dataclasses.field(default_factory=dict)

    def __call__(
        self, params: Params, frozen: Params, batch: dict, key: PRNGKey
    ) -> tuple[PerExample, Metrics]:
        x0, cond = batch["x0"], batch["cond"]
        time_key, noise_key, drop_key, tail_key = jax.random.split(key, 4)
        t = self.times(self.process, time_key, len(x0))
        normal = jax.random.normal(noise_key, x0.shape, x0.dtype)
        eps = self.process.noise(normal, jax.random.split(tail_key, len(x0)))
        x = perturb(self.process, x0, eps, t)
        if self.dropout > 0 and self.null:
            cond = drop_condition(cond, drop_key, self.dropout, self.null)
        prediction = Denoiser(params, self.network, self.process, self.output)(x, t, cond)
        error = jnp.mean((prediction.x0 - x0) ** 2, axis=tuple(range(1, x0.ndim)))
        return self.weighting(self.process.log_snr(t)) * error, {"x0_error": error}
