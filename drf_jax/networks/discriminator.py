"""Discriminator of adversarial distillation: small heads on the feature maps of a frozen network.

Each head sees one map of the frozen network, and only the heads learn (Sauer et al. 2022, 2023, arXiv 2311.17042):

    y = silu(conv(silu(W F))),      D(F) = mean over positions of (v · y) + e_label · mean(y)          (1)

The last term, a product with a learned row for each label, makes it conditional (projection discriminator: Miyato &
Koyama 2018).
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.typing import Cond, PerExample

FeatureMaps = tuple[Float[Array, "b _h _w _n"], ...]


class Head(nn.Module):
    """Equation (1): ``(features [b, h, w, n], cond) -> [b]``."""

    width: int
    num_classes: int

    @nn.compact
    def __call__(self, features: Float[Array, "b h w n"], cond: Cond) -> PerExample:
        y = nn.silu(nn.Dense(self.width, name="in")(features))
        y = nn.silu(nn.Conv(self.width, (3, 3), name="conv")(y)).mean((1, 2))
        score = nn.Dense(1, name="out")(y)[:, 0]
        if self.num_classes:
            rows = nn.Embed(self.num_classes + 1, self.width, name="label")(cond["label"])
            score += jnp.sum(rows * y, axis=-1)
        return score


class Discriminator(nn.Module):
    """``(feature maps, cond) -> scores [maps, b]``, high where the image looks real.

    Attributes:
      width: channels inside a head.
      num_classes: labels that ``cond["label"]`` tells apart, besides the null label; 0 ignores it.
    """

    width: int = 64
    num_classes: int = 0

    @nn.compact
    def __call__(self, maps: FeatureMaps, cond: Cond = None) -> Float[Array, "maps b"]:
        heads = [Head(self.width, self.num_classes, name=f"head_{i}") for i in range(len(maps))]
        return jnp.stack([head(each, cond) for head, each in zip(heads, maps, strict=True)])
