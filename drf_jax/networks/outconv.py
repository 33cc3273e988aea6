"""The U-Net's last convolution, 3x3 to a few channels, as one matrix product and nine shifts.

    y[p] = bias + sum_o W_o^T h[p + o] = bias + sum_o (W_o^T h)[p + o],        o in {-1, 0, 1}^2

The same parameters and values as a convolution with zero padding. The draft network maps its head
over K sets of parameters, which would turn a convolution into a slow grouped one; this stays a
batched matrix product.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.networks.embed import parameter_dtype


class OutConv(nn.Module):
    """``h [b, h, w, n] -> [b, h, w, channels]``, zero-initialised."""

    channels: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, h: Float[Array, "b h w n"]) -> Float[Array, "b h w ch"]:
        store, zeros = parameter_dtype(self.dtype), nn.initializers.zeros
        kernel = self.param("kernel", zeros, (3, 3, h.shape[-1], self.channels), store)
        bias = self.param("bias", zeros, (self.channels,), store)
        height, width = h.shape[1:3]
        taps = jnp.einsum("bhwn,yxnc->bhwyxc", h.astype(self.dtype), kernel.astype(self.dtype))
        taps = jnp.pad(taps, ((0, 0), (1, 1), (1, 1), (0, 0), (0, 0), (0, 0)))
        shifted = [taps[:, y : y + height, x : x + width, y, x] for y in range(3) for x in range(3)]
        return sum(shifted) + bias.astype(self.dtype)
