"""Blocks of the U-Net: a residual block modulated by the conditioning vector c, then attention.

    y = conv(silu(GN(h)))
    y = conv0(silu((1 + s) GN(y) + b)),        [b, s] = W silu(c)
    h <- skip(h) + y

conv0 and the attention's output start at zero (Dhariwal & Nichol, 2021, arXiv 2105.05233).
"""

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.networks.attention import SelfAttention
from drf_jax.networks.embed import parameter_dtype
from drf_jax.networks.group_norm import GroupNorm

ZEROS = nn.initializers.zeros


def group_norm(channels: int, dtype: str, name: str, affine: bool = True) -> GroupNorm:
    """Group norm with gcd(32, channels) groups."""
    groups = math.gcd(32, channels)
    return GroupNorm(groups, affine, dtype, parameter_dtype(dtype), name=name)


def modulate(
    h: Float[Array, "b h w n"], modulation: Float[Array, "b two_n"]
) -> Float[Array, "b h w n"]:
    """``(1 + scale) h + shift``, the two halves of ``modulation``."""
    shift, scale = jnp.split(modulation[:, None, None], 2, axis=-1)
    return h * (1 + scale) + shift


class ResBlock(nn.Module):
    """Residual block modulated by c: ``(h [b, h, w, n], c [b, e]) -> [b, h, w, channels]``."""

    channels: int
    dtype: str

    @nn.compact
    def __call__(
        self, h: Float[Array, "b h w n"], c: Float[Array, "b e"]
    ) -> Float[Array, "b h w m"]:
        options = {"dtype": self.dtype, "param_dtype": parameter_dtype(self.dtype)}
        y = nn.silu(group_norm(h.shape[-1], self.dtype, "norm_in")(h))
        y = nn.Conv(self.channels, (3, 3), name="conv_in", **options)(y)
        modulation = nn.Dense(2 * self.channels, name="modulation", **options)(nn.silu(c))
        y = modulate(group_norm(self.channels, self.dtype, "norm_out", affine=False)(y), modulation)
        y = nn.Conv(self.channels, (3, 3), kernel_init=ZEROS, name="conv_out", **options)(
            nn.silu(y)
        )
        if h.shape[-1] != self.channels:
            h = nn.Dense(self.channels, name="skip", **options)(h)
        return h + y


class AttentionBlock(nn.Module):
    """Residual self-attention over all positions, zero-initialised."""

    heads: int
    dtype: str
    backend: str = "xla"

    @nn.compact
    def __call__(self, h: Float[Array, "b h w n"]) -> Float[Array, "b h w n"]:
        b, height, width, channels = h.shape
        y = group_norm(channels, self.dtype, "norm")(h).reshape(b, height * width, channels)
        attention = SelfAttention(self.heads, self.dtype, ZEROS, self.backend, name="attention")
        y = attention(y)
        return h + y.reshape(h.shape)


class Stage(nn.Module):
    """A residual block, then attention if the level has it."""

    channels: int
    heads: int
    attention: bool
    dtype: str
    attention_backend: str = "xla"

    @nn.compact
    def __call__(
        self, h: Float[Array, "b h w n"], c: Float[Array, "b e"]
    ) -> Float[Array, "b h w m"]:
        h = ResBlock(self.channels, self.dtype, name="block")(h, c)
        if self.attention:
            backend = self.attention_backend
            h = AttentionBlock(self.heads, self.dtype, backend, name="attention")(h)
        return h
