"""Samples of a set of indices, batch by batch, on the host; their noises are those of `drf_jax.noise`."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int
from tqdm import tqdm

from drf_jax.noise import initial_noise, sample_keys
from drf_jax.typing import PRNGKey, PRNGKeys, State

Sampler = Callable[[State, PRNGKeys, Any], Float[jax.Array, "b ..."]]
"""``sampler(noise [b, *state], keys [b], cond) -> state [b, *state]``, from unit noise, or other numbers of it."""


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
      shape: of one noise, without the batch axis.
      cond_fn: sample indices [b] -> conditioning with leading axis b; None: no conditioning.
      batch_size: states in one call. The last batch is filled up and the surplus is cut off.
      label: name in the progress bar, which shows on a terminal only.

    Returns:
      float32 [n, ...], what the sampler makes of them.
    """
    made = []
    bar = tqdm(total=len(indices), desc=label, unit="img", disable=None, leave=False)
    with bar:
        for batch in range(math.ceil(len(indices) / batch_size)):
            rows = slice(batch * batch_size, (batch + 1) * batch_size)
            part = indices[rows]
            padded = np.pad(part, (0, batch_size - len(part)), mode="edge")
            keys = sample_keys(root, padded)
            cond = None if cond_fn is None else cond_fn(padded)
            states = sampler(initial_noise(keys, tuple(shape)), keys, cond)
            made.append(np.asarray(states, np.float32)[: len(part)])
            bar.update(len(part))
    return np.concatenate(made) if made else np.empty((0, *shape), np.float32)
