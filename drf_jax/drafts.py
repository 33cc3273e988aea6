"""The draft axis as a part of the batch: ``[k, b, …] ↔ [(b k), …]``.

The batch is outermost, so that one that is split over devices stays split.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Num, PyTree

from drf_jax.typing import Cond


def merge_drafts(x: Num[Array, "k b *rest"]) -> Num[Array, "bk *rest"]:
    """``[k, b, …] -> [(b k), …]``: all drafts of sample 0 first."""
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])


def split_drafts(x: Num[Array, "bk *rest"], drafts: int) -> Num[Array, "k b *rest"]:
    """The inverse of ``merge_drafts``."""
    return x.reshape(-1, drafts, *x.shape[1:]).swapaxes(0, 1)


def repeat_cond(cond: Cond, drafts: int) -> PyTree[Num[Array, "bk ..."]]:
    """Leaves ``[b, …] -> [(b k), …]``, the same for every draft of a sample."""
    return jax.tree.map(lambda leaf: jnp.repeat(leaf, drafts, axis=0), cond)
