"""Double the resolution, then convolve: computed at the low resolution, with four ninths of the operations.

Where every pixel x[i, j] has become four, a 3 × 3 kernel k meets at most two rows and two columns of x. For the output
of even (a = 0) and odd (a = 1) rows

    y[2i + a] = K_a[0] x[i + a − 1] + K_a[1] x[i + a],      K_0 = (k[0], k[1] + k[2]),   K_1 = (k[0] + k[1], k[2])

and so for columns: four kernels of 2 × 2, which are one convolution with four times the features. Its result at
[i, j] is that of the pixels x[i − 1 … i, j − 1 … j], from which y takes the four parts with the shifts (a, b).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.networks.embed import parameter_dtype

PHASES = (0, 1)


def phase_kernel(
    kernel: Float[Array, "rows columns n m"], phase: int, axis: int
) -> Float[Array, "rows2 columns2 n m"]:
    """K_a along an axis of three entries, which then has two."""
    first, middle, last = jnp.split(kernel, 3, axis)
    pair = (first, middle + last) if phase == 0 else (first + middle, last)
    return jnp.concatenate(pair, axis)


def doubled_convolution(
    h: Float[Array, "b h w n"], kernel: Float[Array, "3 3 n m"]
) -> Float[Array, "b h2 w2 m"]:
    """``conv(h.repeat(2, 1).repeat(2, 2), kernel)`` with a margin of zeros."""
    b, height, width, _ = h.shape
    four = [phase_kernel(phase_kernel(kernel, a, 0), c, 1) for a in PHASES for c in PHASES]
    y = jax.lax.conv_general_dilated(
        h,
        jnp.concatenate(four, axis=-1).astype(h.dtype),
        window_strides=(1, 1),
        padding=((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    ).reshape(b, height + 1, width + 1, 2, 2, -1)
    part = lambda a, c: y[:, a : a + height, c : c + width, a, c]
    rows = [jnp.stack([part(a, c) for c in PHASES], axis=3) for a in PHASES]
    return jnp.stack(rows, axis=2).reshape(b, 2 * height, 2 * width, -1)


class DoublingConv(nn.Module):
    """``[b, h, w, n] -> [b, 2 h, 2 w, features]``: ``nn.Conv(features, (3, 3))`` after doubling, its parameters too."""

    features: int
    dtype: str

    @nn.compact
    def __call__(self, h: Float[Array, "b h w n"]) -> Float[Array, "b h2 w2 m"]:
        store = parameter_dtype(self.dtype)
        shape = (3, 3, h.shape[-1], self.features)
        kernel = self.param("kernel", nn.linear.default_kernel_init, shape, store)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), store)
        return doubled_convolution(h.astype(self.dtype), jnp.asarray(kernel)) + bias.astype(
            self.dtype
        )
