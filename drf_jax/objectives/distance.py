"""Distances between two states, one number for each example: (a, b) -> ``[b]``."""

import dataclasses
import math
from collections.abc import Callable

import jax.numpy as jnp

from drf_jax.typing import PerExample, State

Distance = Callable[[State, State], PerExample]


def squared(a: State, b: State) -> PerExample:
    """Mean squared difference."""
    return jnp.mean((a - b) ** 2, axis=tuple(range(1, a.ndim)))


@dataclasses.dataclass(frozen=True)
class PseudoHuber:
    """√(‖a − b‖² + c²) − c with c = ``scale`` √d for d entries (Song & Dhariwal 2023; Charbonnier et al. 1997).

    It is ‖a − b‖² / 2c near zero and ‖a − b‖ far away, so outliers count less.
    """

    scale: float = 0.00054

    def __call__(self, a: State, b: State) -> PerExample:
        c2 = self.scale**2 * math.prod(a.shape[1:])
        norm2 = jnp.sum((a - b) ** 2, axis=tuple(range(1, a.ndim)))
        return norm2 / (jnp.sqrt(norm2 + c2) + math.sqrt(c2))


@dataclasses.dataclass(frozen=True)
class Huber:
    """Mean over the entries of √((a − b)² + c²) − c, c = ``scale`` (the LCM authors' training code)."""

    scale: float = 1e-3

    def __call__(self, a: State, b: State) -> PerExample:
        difference2, c = (a - b) ** 2, self.scale
        entries = difference2 / (jnp.sqrt(difference2 + c**2) + c)
        return jnp.mean(entries, axis=tuple(range(1, a.ndim)))


DISTANCES: dict[str, Callable[..., Distance]] = {
    "squared": lambda: squared,
    "pseudo_huber": PseudoHuber,
    "huber": Huber,
}
