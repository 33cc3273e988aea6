"""Conditioning of a network: a dict of arrays with a leading batch axis, made from a source's examples."""

import jax
import jax.numpy as jnp
import numpy as np

from drf_jax.data.source import Source


def condition(data: Source, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Labels as conditioning; nothing for data without classes."""
    return {"label": np.asarray(labels, np.int32)} if data.num_classes else {}


def condition_of(data: Source, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Conditioning of sample indices: that of the example with the same index, modulo the data's length."""
    return condition(data, np.array([data[int(i) % len(data)]["label"] for i in indices], np.int32))


def null_cond(data: Source, batch: int) -> dict[str, jax.Array]:
    """The empty conditioning of classifier-free guidance."""
    return {"label": jnp.full(batch, data.num_classes, jnp.int32)} if data.num_classes else {}
