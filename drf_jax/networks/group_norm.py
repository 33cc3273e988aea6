"""Group norm (Wu & He, 2018, arXiv 1803.08494) as one pass over the feature map.

With m_c and s_c the means of h and h² over the positions in channel c, and the mean over a group's channels,

    μ = mean_c m_c,    var = mean_c s_c − μ²,    y = (h − μ) / sqrt(var + ε) · scale + bias                  (1)

Flax's own reduces over positions and channels of a group at once, which XLA splits badly: the two sums here are along
the positions alone, and what is left is small. Parameters have the same names.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

EPSILON = 1e-6


class GroupNorm(nn.Module):
    """``h [b, *positions, n] -> [b, *positions, n]`` in ``dtype``; sums are in float32, or float64 if ``dtype`` is.

    ``affine`` is whether there are a ``scale`` and a ``bias`` to learn; ``groups`` must divide n.
    """

    groups: int
    affine: bool = True
    dtype: str = "float32"
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, h: Float[Array, "b *positions n"]) -> Float[Array, "b *positions n"]:
        n, positions = h.shape[-1], tuple(range(1, h.ndim - 1))
        wide = h.astype(jnp.promote_types(self.dtype, jnp.float32))
        mean, square = (
            jnp.repeat(
                jnp.mean(jnp.mean(x, positions).reshape(-1, self.groups, n // self.groups), -1),
                n // self.groups,
                axis=-1,
            )
            for x in (wide, jnp.square(wide))
        )
        factor = jax.lax.rsqrt(jnp.maximum(square - jnp.square(mean), 0.0) + EPSILON)
        shift = -mean * factor
        if self.affine:
            scale = self.param("scale", nn.initializers.ones, (n,), self.param_dtype)
            bias = self.param("bias", nn.initializers.zeros, (n,), self.param_dtype)
            factor, shift = factor * scale, shift * scale + bias
        factor, shift = (jnp.expand_dims(x, positions) for x in (factor, shift))
        return (wide * factor + shift).astype(self.dtype)
