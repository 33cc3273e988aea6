"""Transformer block with adaLN-Zero (Peebles & Xie, 2023, arXiv 2212.09748).

    h <- h + g1 * attention((1 + s1) LN(h) + b1)
    h <- h + g2 * mlp((1 + s2) LN(h) + b2),        [b1, s1, g1, b2, s2, g2] = W silu(c)

with W = 0 at the start, so that a fresh block is the identity.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.networks.attention import SelfAttention
from drf_jax.networks.embed import parameter_dtype


def layer_norm(h: Float[Array, "*batch w"]) -> Float[Array, "*batch w"]:
    """Layer norm without an affine map, computed in float32 or wider."""
    wide = h.astype(jnp.promote_types(h.dtype, jnp.float32))
    return nn.standardize(wide, axis=-1, epsilon=1e-6).astype(h.dtype)


def modulated_norm(
    h: Float[Array, "b *n w"], shift: Float[Array, "b w"], scale: Float[Array, "b w"]
) -> Float[Array, "b *n w"]:
    """Layer norm whose affine map is given for each example."""
    h = layer_norm(h)
    per_example = (h.shape[0], *[1] * (h.ndim - 2), h.shape[-1])
    return h * (1 + scale.reshape(per_example)) + shift.reshape(per_example)


class Block(nn.Module):
    """One adaLN-Zero transformer block, ``(h [b, n, w], c [b, e]) -> [b, n, w]``."""

    heads: int
    mlp_ratio: int
    dtype: str
    attention_backend: str = "xla"

    @nn.compact
    def __call__(self, h: Float[Array, "b n w"], c: Float[Array, "b e"]) -> Float[Array, "b n w"]:
        width = h.shape[-1]
        options = {"dtype": self.dtype, "param_dtype": parameter_dtype(self.dtype)}
        zeros = nn.initializers.zeros
        modulation = nn.Dense(6 * width, kernel_init=zeros, name="modulation", **options)(
            nn.silu(c)
        )
        shift1, scale1, gate1, shift2, scale2, gate2 = jnp.split(modulation, 6, axis=-1)
        y = modulated_norm(h, shift1, scale1)
        backend = self.attention_backend
        y = SelfAttention(self.heads, self.dtype, backend=backend, name="attention")(y)
        h = h + gate1[:, None] * y
        y = modulated_norm(h, shift2, scale2)
        y = nn.Dense(self.mlp_ratio * width, name="mlp_in", **options)(y)
        y = nn.Dense(width, name="mlp_out", **options)(nn.gelu(y, approximate=True))
        return h + gate2[:, None] * y
