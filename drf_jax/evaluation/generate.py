"""Sample i of a run depends on (root key, i) and on nothing else.

    key_i = fold_in(root, i),      eps_i ~ N(0, I) drawn from fold_in(key_i, NOISE)             (1)

So batch size, order, devices and restarts do not change the noise of a sample, and two samplers
started from the same root answer for the same noise: RMSE and pictures compare sample by sample.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Float32, Int
from tqdm import tqdm

from drf_jax.typing import PRNGKey, PRNGKeys, State

Sampler = Callable[[State, PRNGKeys, Any], State]
"""``sampler(noise [b, *state], keys [b], cond) -> state [b, *state]``, from unit noise."""

NOISE = 0x6E6F6973
"""Folded into a sample's key for its first noise; a sampler may fold small numbers itself."""


@jax.jit
def sample_keys(root: PRNGKey, indices: Int[Array | np.ndarray, "b"]) -> PRNGKeys:
    """One key for each sample index, equation (1)."""
    return jax.vmap(partial(jax.random.fold_in, root))(indices)


@partial(jax.jit, static_argnames="shape")
def initial_noise(keys: PRNGKeys, shape: tuple[int, ...]) -> Float32[Array, "b ..."]:
    """Unit-variance noise of each sample, equation (1); the caller scales it to its process."""
    return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, NOISE), shape))(keys)


def generate(
    sampler: Sampler,
    root: PRNGKey,
    indices: Int[np.ndarray, "n"],
    shape: tuple[int, ...],
    cond_fn: Callable[[Int[np.ndarray, "b"]], Any] | None = None,
    batch_size: int = 64,
    label: str = "generate",
) -> Float[np.ndarray, "n ..."]:
    """Samples with these indices, in this order, on the host.

    Args:
      sampler: compiled by the caller, or not; it always sees the same batch size.
      root: key of the whole set.
      indices: sample indices; any subset or order gives the same samples.
      shape: of one state, without the batch axis.
      cond_fn: sample indices [b] -> conditioning with leading axis b; None: no conditioning.
      batch_size: states in one call. The last batch is filled up and the surplus is cut off.
      label: name in the progress bar, which shows on a terminal only.

    Returns:
      float32 [n, *shape].
    """
    out = np.empty((len(indices), *shape), np.float32)
    bar = tqdm(total=len(indices), desc=label, unit="img", disable=None, leave=False)
    with bar:
        for batch in range(math.ceil(len(indices) / batch_size)):
            rows = slice(batch * batch_size, (batch + 1) * batch_size)
            part = indices[rows]
            padded = np.pad(part, (0, batch_size - len(part)), mode="edge")
            keys = sample_keys(root, padded)
            cond = None if cond_fn is None else cond_fn(padded)
            states = sampler(initial_noise(keys, tuple(shape)), keys, cond)
            out[rows] = np.asarray(states)[: len(part)]
            bar.update(len(part))
    return out
