"""Draft network that is told its target: one state in, K predictions out, each of a network that knows where it drafts.

Instead of K heads on the features of one trunk (`drafter`), the whole network is evaluated once for each target time
u_j, all K in one call as the batch ``(b k)``. With f the sinusoids,

    c_j     = embed(t, cond) + W_t silu(W_m [f(u_j), f(t − u_j)])           for each draft j = 1 .. K
    out_j   = head(trunk(x, c_j), c_j)

W_t starts at zero, so a network made by ``transfer.target_drafter_from_teacher`` gives the teacher's output K times, as
K heads do. Its parameters do not depend on K; it is one sequential call of K evaluations, not of one.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.drafts import merge_drafts, repeat_cond, split_drafts
from drf_jax.networks.embed import parameter_dtype, sinusoid
from drf_jax.networks.network import Backbone
from drf_jax.typing import Cond, Drafts, Time, Times


class TargetTime(nn.Module):
    """``(t [n], u [n]) -> what is added to c [n, e]``, zero at first."""

    width: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, t: Time, u: Time) -> Float[Array, "b e"]:
        options = {"dtype": self.dtype, "param_dtype": parameter_dtype(self.dtype)}
        features = jnp.concatenate([sinusoid(u), sinusoid(t - u)], axis=-1)
        m = nn.silu(nn.Dense(self.width, name="times", **options)(features))
        zeros = nn.initializers.zeros
        return nn.Dense(self.width, kernel_init=zeros, name="out", **options)(m)


class TargetDraftNetwork(nn.Module):
    """``(x [b, ...], t [b], targets [k, b], cond) -> [k, b, ...]`` in x's dtype.

    Parameters: ``embed, trunk, head`` as in the teacher, and ``target``.
    """

    backbone: Backbone

    def setup(self) -> None:
        self.embed = self.backbone.embed()
        self.target = TargetTime(self.backbone.embedding_width, self.backbone.dtype)
        self.trunk = self.backbone.trunk()
        self.head = self.backbone.head()

    def __call__(
        self, x: Float[Array, "b *state"], t: Time, targets: Times, cond: Cond = None
    ) -> Drafts:
        k = len(targets)
        c = repeat_cond(self.embed(t, cond), k)
        c += self.target(repeat_cond(t, k), merge_drafts(targets))
        out = self.head(self.trunk(repeat_cond(x, k), c), c)
        return split_drafts(out, k).astype(x.dtype)
