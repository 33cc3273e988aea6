"""The exact denoiser of a Gaussian mixture: samplers can be studied without training a network.

For x0 ~ Σ_k π_k N(μ_k, s_k² I) in d dimensions and x_t = α x0 + σ ε,

    E[x0 | x_t] = Σ_k r_k (α s_k² x_t + σ² μ_k) / v_k,     v_k = α² s_k² + σ²
    r = softmax_k( log π_k − (d/2) log v_k − ‖x_t − α μ_k‖² / (2 v_k) )                                (1)
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax import pytree
from drf_jax.process.prediction import Prediction
from drf_jax.process.schedule import Process
from drf_jax.typing import Cond, State, Time


@pytree.register
@dataclasses.dataclass(frozen=True)
class GaussianMixture:
    """Equation (1): a denoiser for means ``[K, *state]``, standard deviations ``[K]`` and weights ``[K]``."""

    means: Float[Array, "K *state"]
    scales: Float[Array, "K"]
    weights: Float[Array, "K"]
    process: Process = pytree.static()

    def __call__(self, x: State, t: Time, cond: Cond = None) -> Prediction:
        alpha, sigma = self.process.alpha(t)[:, None], self.process.sigma(t)[:, None]
        flat = x.reshape(len(x), -1)
        means = self.means.reshape(len(self.means), -1)
        v = alpha**2 * self.scales**2 + sigma**2
        distance2 = jnp.sum((flat[:, None] - alpha[..., None] * means) ** 2, axis=-1)
        d = math.prod(x.shape[1:])
        r = jax.nn.softmax(jnp.log(self.weights) - d / 2 * jnp.log(v) - distance2 / (2 * v))
        x0 = (r * alpha * self.scales**2 / v).sum(1, keepdims=True) * flat
        x0 = x0 + sigma**2 * (r / v) @ means
        return Prediction(x0.reshape(x.shape), ((flat - alpha * x0) / sigma).reshape(x.shape))
