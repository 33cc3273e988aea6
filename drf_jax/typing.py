"""Shapes and protocols that the whole library shares.

A *state* is any array with a leading batch axis ``b``: images ``[b, h, w, c]``, latents, video. Drafted states carry
the draft axis ``k`` in front of it. Conditioning is a pytree (usually a dict, or ``None``) whose leaves all have the
leading batch axis; everything between the caller and the network passes it on untouched.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
from etils import epath
from jaxtyping import Array, Float, Key, Num, PyTree

State = Float[Array, "b *state"]
Drafts = Float[Array, "k b *state"]
Time = Float[Array, "b"]
Times = Float[Array, "k b"]
Cond = PyTree[Num[Array, "b ..."]]
PRNGKey = Key[Array, ""]
PRNGKeys = Key[Array, "b"]
Params = PyTree[Any]

Folder = Path | epath.Path
"""Of a file system, or at an address (`drf_jax.address`)."""

PerExample = Float[Array, "b"]
Metrics = dict[str, jax.Array]
Objective = Callable[[Params, Params, Any, jax.Array], tuple[PerExample, Metrics]]
"""``loss(params, frozen, batch, key) -> (per-example loss [b], metrics)``; the training step takes the mean."""


@runtime_checkable
class Network(Protocol):
    """A hashable description of a network: the part of ``flax.linen.Module`` that the library uses."""

    def apply(self, variables: Any, *args: Any) -> jax.Array: ...
