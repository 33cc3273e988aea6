"""Conditioning of a network: a dict of arrays with a leading batch axis, made from a source's examples.

    {"label": int32 [b]}                                            of data with classes
    {"label": int32 [b], "caption": float32 [b, caption_width]}     of data that also have captions

The empty conditioning, on which classifier-free guidance builds, is the label one past the last and
the caption 0. Embedded captions have length 1, so no caption is 0; and a network reads them through a
linear map without an offset (`drf_jax.networks.embed`), so 0 says nothing at all.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from drf_jax.data.gather import gather
from drf_jax.data.source import Source
from drf_jax.errors import UserError


@runtime_checkable
class Conditioned(Protocol):
    """What says how it is conditioned: a source, or the backbone of a network."""

    @property
    def num_classes(self) -> int: ...

    @property
    def caption_width(self) -> int: ...


def condition(data: Conditioned, examples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Conditioning of a batch of examples, as `drf_jax.data.pipeline.batches` stacks them."""
    cond = {}
    if data.num_classes:
        cond["label"] = np.asarray(examples["label"], np.int32)
    if data.caption_width:
        cond["caption"] = np.asarray(examples["caption_embedding"], np.float32)
    return cond


def condition_of(data: Source, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Conditioning of sample indices: that of the example with the same index, modulo the data's length."""
    return condition(data, gather(data, np.asarray(indices) % len(data)))


def null_of(data: Conditioned) -> dict[str, jax.Array]:
    """The empty conditioning of one sample, without batch axis."""
    cond = {}
    if data.num_classes:
        cond["label"] = jnp.int32(data.num_classes)
    if data.caption_width:
        cond["caption"] = jnp.zeros(data.caption_width, jnp.float32)
    return cond


def null_cond(data: Conditioned, batch: int) -> dict[str, jax.Array]:
    """The empty conditioning of ``batch`` samples."""
    return jax.tree.map(lambda leaf: jnp.tile(leaf, (batch, *[1] * leaf.ndim)), null_of(data))


def label_named(data: Source, name: str) -> int:
    """The label of that name.

    Raises:
      UserError: the data have no such class, or no names of classes.
    """
    if name not in data.classes:
        known = ", ".join(data.classes) or "none, the classes have no names"
        raise UserError(f"data {data.name} have no class {name!r}; known: {known}")
    return data.classes.index(name)
