"""Cross-draft attention: K drafted states of one sample exchange information.

Inside the trunk the draft axis is merged into the batch, the batch outermost so that one that is split
over devices stays split: ``[k, b, ...] -> [(b k), ...]``. At every position p of a feature map h, the
drafts j of one sample attend over each other:

    u_j = LN(h_j[p]) + W_c silu(c_j) + e_j         c_j: of the draft's own time, e_j: its index
    y_j = softmax_i(q(u_j) . k(u_i) / sqrt(d)) v(u_i)
    h_j[p] <- h_j[p] + W_o y_j                     W_o = 0 at the start

so at initialisation the drafts are independent and the trunk is the teacher's. q, k and v are ``width`` wide, the
feature map's own width unless one is given. Of a width that is no multiple of the network's heads there are as many
heads as divide both: a U-Net's heads need to fit only where it has self-attention. There is one after each of these
blocks of the trunk:

    where            U-Net                                           DiT
    every_block      all but those of full resolution                all
    attention        those with self-attention                       every second one, the last among them
"""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.drafts import merge_drafts, split_drafts
from drf_jax.errors import UserError
from drf_jax.networks.adaln import layer_norm
from drf_jax.networks.embed import parameter_dtype

PLACES = ("every_block", "attention")


def attend(
    q: Float[Array, "k b n h d"],
    k: Float[Array, "k b n h d"],
    v: Float[Array, "k b n h d"],
    dtype: jnp.dtype,
) -> Float[Array, "k b n h d"]:
    """y_j at every position and head, in the form that the backend is fast with; ``dtype`` is the softmax's."""
    return (as_products if jax.default_backend() == "cpu" else as_sums)(q, k, v, dtype)


def as_sums(q: Array, k: Array, v: Array, dtype: jnp.dtype) -> Array:
    """As sums of products, which a GPU's compiler fuses: a product of K × d by d × K matrices at every position and
    head is a kernel of its own to it, and one that is searched for."""
    logits = jnp.sum(q[:, None] * k[None], axis=-1, dtype=dtype) / math.sqrt(q.shape[-1])
    weights = nn.softmax(logits, axis=1).astype(v.dtype)
    return jnp.sum(weights[..., None] * v[None], axis=1)


def as_products(q: Array, k: Array, v: Array, dtype: jnp.dtype) -> Array:
    """As matrix products: a CPU takes several times as long for the gradient of sums, which it does not fuse."""
    logits = jnp.einsum("kbnhd,jbnhd->bnhkj", q, k) / math.sqrt(q.shape[-1])
    weights = nn.softmax(logits.astype(dtype)).astype(v.dtype)
    return jnp.einsum("bnhkj,jbnhd->kbnhd", weights, v)


class CrossDraftAttention(nn.Module):
    """``(h [(b k), *positions, w], c [(b k), e]) -> the residual [(b k), *positions, w]``."""

    drafts: int
    heads: int
    dtype: str = "float32"
    inner: int = 0

    @nn.compact
    def __call__(
        self, h: Float[Array, "bk *positions w"], c: Float[Array, "bk e"]
    ) -> Float[Array, "bk *positions w"]:
        width = h.shape[-1]
        inner = self.inner or width
        store = parameter_dtype(self.dtype)
        options = {"dtype": self.dtype, "param_dtype": store}
        index = self.param("index", nn.initializers.normal(0.02), (self.drafts, width), store)
        own = split_drafts(nn.Dense(width, name="time", **options)(nn.silu(c)), self.drafts)
        own = (own + index[:, None].astype(own.dtype))[:, :, None]
        u = layer_norm(h).reshape(h.shape[0], -1, width)
        u = split_drafts(u, self.drafts) + own
        qkv = nn.Dense(3 * inner, name="qkv", **options)(u)
        heads = math.gcd(self.heads, inner)
        q, k, v = jnp.split(qkv.reshape(*u.shape[:-1], 3 * heads, -1), 3, axis=-2)
        y = attend(q, k, v, store).reshape(*u.shape[:-1], inner)
        y = nn.Dense(width, kernel_init=nn.initializers.zeros, name="out", **options)(y)
        return merge_drafts(y).reshape(h.shape)


@dataclasses.dataclass(frozen=True)
class CrossDraft:
    """What a trunk needs to make its mixers: ``mixer.module(CrossDraftAttention, "mix_0")(h, c)`` where
    ``mixer.after(...)``.

    Raises:
      UserError: ``drafts`` is not positive, ``width`` no multiple of ``heads``, or ``where`` unknown.
    """

    drafts: int
    heads: int
    dtype: str = "float32"
    where: str = "every_block"
    width: int = 0

    def __post_init__(self) -> None:
        if self.drafts < 1:
            raise UserError(f"drafts={self.drafts}: must be at least 1")
        if self.width < 0 or self.width % self.heads:
            raise UserError(
                f"cross_draft_width = {self.width}: must be a multiple of the network's heads = {self.heads}, or 0"
            )
        if self.where not in PLACES:
            raise UserError(f"cross_draft = {self.where!r}: choose one of {', '.join(PLACES)}")

    def after(self, block: bool, attention: bool) -> bool:
        """Whether a mixer follows a block, which is one of those of ``every_block`` and of ``attention`` or not."""
        return {"every_block": block, "attention": attention}[self.where]

    def module(self, cls: type[CrossDraftAttention], name: str) -> CrossDraftAttention:
        return cls(self.drafts, self.heads, self.dtype, self.width, name=name)
