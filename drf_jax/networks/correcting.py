"""A network of the anchored mode that corrects a jump: the drafts speak of what is wrong with the anchor's prediction.

As in `drf_jax.networks.ahead`, one call evaluates the anchor, state 0, and K drafts, and looks ahead. With f_j the
features of state j and c_j its conditioning vector,

    p_0 = head(f_0, c_0)                                      of the anchor
    e_j = correction(f_j, c_j)            j = 1 .. K          of the drafts, 0 at the start
    q_j = ahead_j(f_K, c_K)               j = 1 .. K          for the next round's drafts

What e_j corrects is the sampler's matter (`drf_jax.sampling.anchored.CorrectingRefiner`). Started by
``transfer.ahead_from_teacher`` the drafts change nothing, and the network is its source at the anchor.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.drafts import merge_drafts, repeat_cond, split_drafts
from drf_jax.errors import UserError
from drf_jax.networks.cross_draft import CrossDraft
from drf_jax.networks.network import Backbone
from drf_jax.typing import Cond, Drafts, Times


class CorrectingNetwork(nn.Module):
    """``(states [k + 1, b, ...], times [k + 1, b], cond [b, ...]) -> [2k + 1, b, ...]``: p_0, then e, then q.

    Parameters: those of an ``AheadNetwork``, and ``correction``, a head of its own.

    Raises:
      UserError: the number of states isn't ``drafts`` + 1.
    """

    backbone: Backbone
    drafts: int
    mixer: CrossDraft | None

    def setup(self) -> None:
        self.embed = self.backbone.embed()
        self.trunk = self.backbone.trunk(self.mixer)
        self.head = self.backbone.head()
        self.correction = self.backbone.head()
        self.ahead = self.backbone.head()

    def __call__(
        self, states: Drafts, times: Times, cond: Cond = None
    ) -> Float[Array, "out b *state"]:
        k = self.drafts
        if states.shape[0] != k + 1:
            raise UserError(f"{states.shape[0]} states: the network was built for {k} drafts")
        c = self.embed(merge_drafts(times), repeat_cond(cond, k + 1))
        features = split_drafts(self.trunk(merge_drafts(states), c), k + 1)
        each = split_drafts(c, k + 1)
        p = self.head(features[0], each[0])[None]
        e = self.correction(merge_drafts(features[1:]), merge_drafts(each[1:]))
        heads = nn.vmap(
            lambda head: head(features[-1], each[-1]),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            axis_size=k,
        )
        return jnp.concatenate([p, split_drafts(e, k), heads(self.ahead)]).astype(states.dtype)
