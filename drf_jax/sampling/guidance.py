"""Classifier-free guidance, denoiser -> denoiser (Ho & Salimans 2022).

    ε_w = ε(x, ∅) + w (ε(x, c) − ε(x, ∅))                                                              (1)

and the same for x0, so α x0 + σ ε = x_t still holds. w = 1 is the conditional model, w = 0 the unconditional one. Both
halves are one network call of twice the batch.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax import pytree
from drf_jax.denoiser import DenoiserLike
from drf_jax.process.prediction import Prediction
from drf_jax.typing import Cond, State, Time


@pytree.register
@dataclasses.dataclass(frozen=True)
class Guided:
    """Equation (1). ``null`` holds the empty conditioning of one sample; what it lacks is kept in both halves."""

    denoiser: DenoiserLike
    weight: Float[Array, ""]
    null: dict[str, jax.Array]

    def __call__(self, x: State, t: Time, cond: Cond = None) -> Prediction:
        both = lambda a, b: jnp.concatenate([a, b])
        absent = {
            name: jnp.broadcast_to(self.null[name], c.shape).astype(c.dtype)
            if name in self.null
            else c
            for name, c in cond.items()
        }
        p = self.denoiser(both(x, x), both(t, t), jax.tree.map(both, cond, absent))
        mix = lambda p: p[len(x) :] + self.weight * (p[: len(x)] - p[len(x) :])
        return Prediction(mix(p.x0), mix(p.eps))
