"""Perceptual loss (Zhang et al. 2018, arXiv 1801.03924): what a frozen classifier sees of where a round ends.

A state at time u > 0 is noisy, and a classifier of images should not be shown it. But a DDIM jump t → u from x implies
an image, the x0 that it keeps still:

    x̂0(x, x_u) = (σ_t x_u − σ_u x) / (α_u σ_t − α_t σ_u)                                               (1)

(the target of progressive distillation), which for u = 0 is the state itself. With F_k the classifier's maps, F̂_k each
position's vector of channels as a unit vector, and ⟨⟩ the mean over positions,

    L_p = Σ_k ⟨‖F̂_k(x̂0(x, r_M)) − F̂_k(x̂0(x, x*_M))‖²⟩                                                   (2)

for the round from the anchor x to its end: the image that the student went for, and that which would have led onto the
teacher's path. The classifier must not be the one that samples are scored with.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.objectives.terms import Walked
from drf_jax.process.prediction import expand
from drf_jax.process.schedule import Process
from drf_jax.typing import Params, PerExample, State, Time

Features = Callable[[Params, State], tuple[jax.Array, ...]]
"""(parameters of the feature network, images) -> feature maps ``[b, ..., channels]``."""

EPSILON = 1e-8


def implied_x0(process: Process, x: State, t: Time, x_u: State, u: Time) -> State:
    """Equation (1)."""
    a_t, s_t = expand(process.alpha(t), x), expand(process.sigma(t), x)
    a_u, s_u = expand(process.alpha(u), x), expand(process.sigma(u), x)
    return (s_t * x_u - s_u * x) / (a_u * s_t - a_t * s_u)


def unit(features: Float[Array, "b *n"]) -> Float[Array, "b *n"]:
    """Every position's channels as a unit vector; a gradient where all are zero, too."""
    return features / jnp.sqrt(jnp.sum(features**2, axis=-1, keepdims=True) + EPSILON)


def map_distance(a: tuple[jax.Array, ...], b: tuple[jax.Array, ...]) -> PerExample:
    """Equation (2) of two images' maps."""

    def one(a, b):
        square = jnp.sum((unit(a) - unit(b)) ** 2, axis=-1)
        return jnp.mean(square, axis=tuple(range(1, square.ndim)))

    return sum(one(*pair) for pair in zip(a, b, strict=True))


@dataclasses.dataclass(frozen=True)
class Perceptual:
    """Equation (2) for a round; ``frozen["features"]`` are the parameters of the classifier."""

    process: Process
    features: Features

    def __call__(self, frozen: Params, walked: Walked) -> PerExample:
        x, t, u = walked.anchor, walked.times[0], walked.times[-1]
        image = lambda state: implied_x0(self.process, x, t, state, u)
        maps = lambda state: self.features(frozen["features"], image(state))
        return map_distance(
            maps(walked.states[-1]), jax.lax.stop_gradient(maps(walked.targets[-1]))
        )
