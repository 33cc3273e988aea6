"""Cross-draft attention: K drafted states of one sample exchange information.

Inside the trunk the draft axis is merged into the batch, the batch outermost so that one that is split
over devices stays split: ``[k, b, ...] -> [(b k), ...]``. At every position p of a feature map h, the
drafts j of one sample attend over each other:

    u_j = LN(h_j[p]) + W_c silu(c_j) + e_j         c_j: of the draft's own time, e_j: its index
    y_j = softmax_i(q(u_j) . k(u_i) / sqrt(d)) v(u_i)
    h_j[p] <- h_j[p] + W_o y_j                     W_o = 0 at the start

so at initialisation the drafts are independent and the trunk is the teacher's.
"""

import dataclasses
import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.drafts import merge_drafts, split_drafts
from drf_jax.errors import UserError
from drf_jax.networks.adaln import layer_norm
from drf_jax.networks.embed import parameter_dtype


class CrossDraftAttention(nn.Module):
    """``(h [(b k), *positions, w], c [(b k), e]) -> the residual [(b k), *positions, w]``."""

    drafts: int
    heads: int
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self, h: Float[Array, "bk *positions w"], c: Float[Array, "bk e"]
    ) -> Float[Array, "bk *positions w"]:
        width = h.shape[-1]
        store = parameter_dtype(self.dtype)
        options = {"dtype": self.dtype, "param_dtype": store}
        index = self.param("index", nn.initializers.normal(0.02), (self.drafts, width), store)
        own = split_drafts(nn.Dense(width, name="time", **options)(nn.silu(c)), self.drafts)
        own = (own + index[:, None].astype(own.dtype))[:, :, None]
        u = layer_norm(h).reshape(h.shape[0], -1, width)
        u = split_drafts(u, self.drafts) + own
        qkv = nn.Dense(3 * width, name="qkv", **options)(u)
        q, k, v = jnp.split(qkv.reshape(*u.shape[:-1], 3 * self.heads, -1), 3, axis=-2)
        logits = jnp.einsum("kbnhd,jbnhd->bnhkj", q, k) / math.sqrt(q.shape[-1])
        weights = nn.softmax(logits.astype(store)).astype(v.dtype)
        y = jnp.einsum("bnhkj,jbnhd->kbnhd", weights, v).reshape(u.shape)
        y = nn.Dense(width, kernel_init=nn.initializers.zeros, name="out", **options)(y)
        return merge_drafts(y).reshape(h.shape)


@dataclasses.dataclass(frozen=True)
class CrossDraft:
    """What a trunk needs to make its mixers: ``mixer.module("mix_0")(h, c)``.

    Raises:
      UserError: ``drafts`` is not positive.
    """

    drafts: int
    heads: int
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.drafts < 1:
            raise UserError(f"drafts={self.drafts}: must be at least 1")

    def module(self, name: str) -> CrossDraftAttention:
        return CrossDraftAttention(self.drafts, self.heads, self.dtype, name=name)
