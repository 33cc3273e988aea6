"""Predictions already made, extrapolated to times still to come.

The last H predictions with their times are a fixed-size window, newest last. Extrapolation is the Lagrange polynomial
through them, as in Adams–Bashforth methods and DPM-Solver++'s multistep form:

    p(u) = Σ_h ℓ_h(u) p_h,     ℓ_h(u) = ∏_{g≠h} (u − t_g) / (t_h − t_g)

Its degree grows from 0 to H − 1 as the window fills. H = 1 holds the newest prediction still.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax import pytree
from drf_jax.process.prediction import Prediction, expand
from drf_jax.typing import State, Times


@pytree.register
@dataclasses.dataclass(frozen=True)
class History:
    """``times`` ``[H, b]`` (NaN where nothing is stored yet) and ``predictions`` ``[H, b, *state]``."""

    times: Float[Array, "H b"]
    predictions: Prediction


def empty(order: int, like: State) -> History:
    """An empty window of ``order`` predictions shaped like ``like`` ``[b, *state]``."""
    zeros = jnp.zeros((order, *like.shape), like.dtype)
    return History(jnp.full((order, like.shape[0]), jnp.nan, like.dtype), Prediction(zeros, zeros))


def push(history: History, times: Times, predictions: Prediction) -> History:
    """Append predictions ``[k, b, *state]`` made at ``times`` ``[k, b]``, oldest first; the oldest fall out."""
    order = history.times.shape[0]
    last = lambda old, new: jnp.concatenate([old, new])[-order:]
    return History(last(history.times, times), jax.tree.map(last, history.predictions, predictions))


def lagrange_weights(nodes: Float[Array, "H b"], at: Times) -> Float[Array, "k H b"]:
    """ℓ_h(at) over the nodes that are not NaN; 0 for those that are."""
    filled = ~jnp.isnan(nodes)
    ratio = (at[:, None, None] - nodes) / (nodes[:, None] - nodes)  # [k, h, g, b]
    others = filled & ~jnp.eye(len(nodes), dtype=bool)[..., None]
    weights = jnp.prod(jnp.where(others, ratio, 1.0), axis=2)
    return jnp.where(filled, weights, 0.0)


def extrapolate(history: History, at: Times) -> Prediction:
    """Predictions ``[k, b, *state]`` for the times ``at`` ``[k, b]``."""
    weights = lagrange_weights(history.times, at)
    combine = lambda p: jnp.sum(expand(weights, p[None]) * p, axis=1)
    return Prediction(*map(combine, history.predictions))
