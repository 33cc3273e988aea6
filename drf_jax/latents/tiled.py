"""Decoding in overlapping tiles, where the whole latent does not fit into memory.

Tiles of T × T latent pixels begin every T − O pixels; the last one of a row or column is moved back to the edge. With
w = w_row w_column the weight of a pixel of a decoded tile, f times as large,

    w_row(i) = min(1, (i + ½) / (f O), (f T − i − ½) / (f O)),      i = 0 … f T − 1                                 (1)

the image is Σ w y / Σ w over the tiles y. Where a single tile lies, further from its inner edges than the decoder sees,
this is the plain decode of a local decoder. A KL autoencoder's is not quite local: its group norms and its attention
take the tile for the whole image, so tiles may differ in tone, which (1) hides; take T as large as memory allows.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from drf_jax.errors import UserError
from drf_jax.sampling.loops import COMPILED, Loop

Decode = Callable[[Float[Array, "b h w c"]], Float[Array, "b height width n"]]


def starts(side: int, tile: int, overlap: int) -> list[int]:
    """First pixels of the tiles along one side."""
    if side <= tile:
        return [0]
    return sorted({min(i, side - tile) for i in range(0, side - overlap, tile - overlap)})


def ramp(tile: int, overlap: int) -> Float[np.ndarray, "n"]:
    """Equation (1), sizes in pixels of the image."""
    i = np.arange(tile) + 0.5
    return np.minimum(1, np.minimum(i, tile - i) / max(overlap, 1)).astype(np.float32)


def decode_tiled(
    decode: Decode,
    latent: Float[Array, "b h w c"],
    factor: int,
    tile: int,
    overlap: int,
    loop: Loop = COMPILED,
) -> Float[Array, "b height width n"]:
    """``decode(latent)`` tile by tile, one tile at a time in memory.

    Args:
      decode: such as ``LatentSpace.decode``; makes images ``factor`` times as large.
      latent: what to decode.
      factor: f.
      tile: T, in latent pixels.
      overlap: O, in latent pixels.
      loop: a convolutional decoder on a CPU wants the Python loop and a jitted ``decode``.

    Raises:
      UserError: ``overlap`` is negative, or not below ``tile``.
    """
    if not 0 <= overlap < tile:
        raise UserError(f"overlap = {overlap}: must be from 0 to tile − 1 = {tile - 1}")
    b, height, width, channels = latent.shape
    rows, columns = min(tile, height), min(tile, width)
    if (rows, columns) == (height, width):
        return decode(latent)
    weight = np.multiply.outer(
        ramp(factor * rows, factor * overlap), ramp(factor * columns, factor * overlap)
    )[..., None]
    corners = np.array(
        [(y, x) for y in starts(height, tile, overlap) for x in starts(width, tile, overlap)]
    )
    weights = np.zeros((factor * height, factor * width, 1), np.float32)
    for y, x in factor * corners:
        weights[y : y + len(weight), x : x + weight.shape[1]] += weight

    def body(total, corner):
        y, x = corner
        part = jax.lax.dynamic_slice(latent, (0, y, x, 0), (b, rows, columns, channels))
        image = decode(part)
        at = (0, factor * y, factor * x, 0)
        before = jax.lax.dynamic_slice(total, at, image.shape)
        return jax.lax.dynamic_update_slice(total, before + weight * image, at), None

    like = jax.eval_shape(decode, latent[:, :1, :1])
    total = jnp.zeros((b, factor * height, factor * width, like.shape[-1]), like.dtype)
    total, _ = loop.scan(body, total, corners)
    return total / weights
