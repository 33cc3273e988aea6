"""Features of many images, a batch at a time."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Float32, UInt8

from drf_jax.errors import UserError


def features_in_batches(
    forward: Callable[[UInt8[np.ndarray, "b h w c"]], Float32[Array, "b d"]],
    images: UInt8[np.ndarray, "n h w c"],
    batch_size: int,
    features: int,
) -> Float32[np.ndarray, "n d"]:
    """``forward`` of all images, ``features`` numbers each.

    The last batch is padded, so one shape is compiled; a batch is on the device while the one before it is fetched.

    Raises:
      UserError: the images have neither one nor three channels.
    """
    if (channels := images.shape[-1]) not in (1, 3):
        raise UserError(f"images have {channels} channels; the feature network takes 1 or 3")
    found = np.empty((len(images), features), np.float32)
    running: list[tuple[slice, jax.Array]] = []
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        padded = np.pad(part, [(0, batch_size - len(part)), (0, 0), (0, 0), (0, 0)])
        running.append((slice(start, start + len(part)), forward(padded)))
        if len(running) > 1:
            _fetch(found, *running.pop(0))
    for rows, out in running:
        _fetch(found, rows, out)
    return found


def _fetch(features: np.ndarray, rows: slice, out: jax.Array) -> None:
    features[rows] = np.asarray(out)[: rows.stop - rows.start]
