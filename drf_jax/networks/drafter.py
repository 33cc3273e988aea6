"""Draft network: one state in, K predictions out, in one call.

It is the teacher with its head repeated K times. With u_j the target times of the drafts and f the
sinusoids,

    m_j     = silu(W_m [f(u_j), f(t - u_j)])                for each draft j = 1 .. K
    c'      = embed(t, cond) + W_t [m_1, ..., m_K]          the trunk knows all targets
    out_j   = head_j(trunk(x, c'), c' + W_h m_j)            a head also knows its own

W_t and W_h start at zero, so a draft network made by ``transfer.drafter_from_teacher`` gives the
teacher's output K times: every draft is the training-free skip transition (DRiffusion, arXiv
2603.25872) until training moves it.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.errors import UserError
from drf_jax.networks.embed import parameter_dtype, sinusoid
from drf_jax.networks.network import Backbone
from drf_jax.typing import Cond, Drafts, Time, Times


class TargetEmbedding(nn.Module):
    """``(t [b], targets [k, b]) -> (trunk [b, e], heads [k, b, e])``, both zero at first."""

    width: int
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self, t: Time, targets: Times
    ) -> tuple[Float[Array, "b e"], Float[Array, "k b e"]]:
        options = {"dtype": self.dtype, "param_dtype": parameter_dtype(self.dtype)}
        zero = {"kernel_init": nn.initializers.zeros, **options}
        features = jnp.concatenate([sinusoid(targets), sinusoid(t - targets)], axis=-1)
        m = nn.silu(nn.Dense(self.width, name="times", **options)(features))
        every = jnp.moveaxis(m, 0, 1).reshape(t.shape[0], -1)
        return (
            nn.Dense(self.width, name="trunk", **zero)(every),
            nn.Dense(self.width, name="heads", **zero)(m),
        )


class DraftNetwork(nn.Module):
    """``(x [b, ...], t [b], targets [k, b], cond) -> [k, b, ...]`` in x's dtype.

    Parameters: ``embed, trunk`` as in the teacher, ``heads`` (the teacher's head with a leading
    axis K), ``targets``.

    Raises:
      UserError: the number of target times isn't ``drafts``.
    """

    backbone: Backbone
    drafts: int

    def setup(self) -> None:
        self.embed = self.backbone.embed()
        self.targets = TargetEmbedding(self.backbone.embedding_width, self.backbone.dtype)
        self.trunk = self.backbone.trunk()
        self.heads = self.backbone.head()

    def __call__(
        self, x: Float[Array, "b *state"], t: Time, targets: Times, cond: Cond = None
    ) -> Drafts:
        if targets.shape[0] != self.drafts:
            raise UserError(f"{targets.shape[0]} target times: the network has {self.drafts} heads")
        every, own = self.targets(t, targets)
        c = self.embed(t, cond) + every
        features = self.trunk(x, c)
        heads = nn.vmap(
            lambda head, own: head(features, c + own),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            axis_size=self.drafts,
        )
        return heads(self.heads, own).astype(x.dtype)
