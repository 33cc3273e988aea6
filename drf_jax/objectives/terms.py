"""Further terms of the loss of students of the teacher's walk: Σ_i w_i L_i of the states of a round, or of a step.

Each term is in a file of its own (`drf_jax.objectives.end_point`, `high_frequency`, `perceptual`, `adversarial_term`).
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Float

from drf_jax.typing import Cond, Metrics, Params, PerExample, State


class Walked(NamedTuple):
    """A round as further terms of the loss see it."""

    anchor: State
    states: Float[Array, "m b *state"]
    """r_1 … r_M."""
    targets: Float[Array, "m b *state"]
    times: Float[Array, "nodes b"]
    """Of the anchor and of the states."""
    cond: Cond = None


@dataclasses.dataclass(frozen=True)
class Term:
    """``weight`` times ``loss(frozen, walked) -> [b]``; its metric is called ``name``."""

    name: str
    weight: float
    loss: Callable[[Params, Walked], PerExample]


def further_loss(
    terms: tuple[Term, ...], frozen: Params, walked: Walked
) -> tuple[PerExample | float, Metrics]:
    """Σ_i w_i L_i, 0 if there are none, and every L_i as a metric."""
    metrics = {term.name: term.loss(frozen, walked) for term in terms}
    return sum((term.weight * metrics[term.name] for term in terms), 0.0), metrics
