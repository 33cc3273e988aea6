"""Multi-head self-attention over the positions of a feature map (Vaswani et al., 2017).

    out = softmax(q k^T / sqrt(d)) v W_o,    [q, k, v] = x W_qkv    (one fused product)

The residual connection, the norm and any modulation belong to the caller.
"""

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from drf_jax.networks.embed import parameter_dtype


class SelfAttention(nn.Module):
    """``x [b, n, c] -> [b, n, c]``; ``c`` must be a multiple of ``heads``."""

    heads: int
    dtype: str = "float32"
    out_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        b, n, c = x.shape
        options = {"dtype": self.dtype, "param_dtype": parameter_dtype(self.dtype)}
        qkv = nn.Dense(3 * c, name="qkv", **options)(x).reshape(b, n, 3, self.heads, -1)
        y = jax.nn.dot_product_attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2])
        return nn.Dense(c, kernel_init=self.out_init, name="out", **options)(y.reshape(b, n, c))
