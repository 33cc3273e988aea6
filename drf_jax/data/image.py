"""The only two conversions between stored images (uint8) and the model's images (float32).

    to_model(u) = u / 127.5 - 1                                  uint8 -> [-1, 1]        (1)
    to_uint8(x) = floor(clip((x + 1) * 127.5, 0, 255) + 0.5)     [-1, 1] -> uint8        (2)

(2) rounds half up and undoes (1) exactly. Fréchet distances move with the rounding, so every image
that is scored, shown or saved goes through (2), once.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, UInt8

from drf_jax.errors import UserError


def to_model(image: UInt8[np.ndarray | jax.Array, "..."]) -> Float32[np.ndarray | jax.Array, "..."]:
    """Stored image -> the model's image, equation (1); NumPy in, NumPy out, and so for JAX."""
    return image.astype(np.float32) / np.float32(127.5) - np.float32(1)


def to_uint8(image: Float[np.ndarray | jax.Array, "..."]) -> UInt8[np.ndarray | jax.Array, "..."]:
    """The model's image -> stored image, equation (2); values outside [-1, 1] are clipped.

    Raises:
      UserError: a NumPy array holds NaN (a sampler diverged), for which no pixel stands. JAX arrays
        may be traced, so they are not looked at.
    """
    xp = np if isinstance(image, np.ndarray) else jnp
    if xp is np and np.isnan(image).any():
        bad = int(np.isnan(image).sum())
        raise UserError(
            f"images: {bad} of {image.size} values are NaN; every value must be a number"
        )
    return xp.floor(xp.clip((image + 1) * 127.5, 0, 255) + 0.5).astype(np.uint8)
