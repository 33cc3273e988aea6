"""A refine network that also looks ahead: besides a prediction for each draft, K more for the next round's drafts.

The trunk is the refine network's (``refiner``); on its features at the *last* draft, K further heads speak of the
states that come after it. With f_j the features of draft j and c_j its conditioning vector,

    p_j = head(f_j, c_j)                  j = 1 .. K        the predictions that refine this round's drafts
    q_j = ahead_j(f_K, c_K)               j = 1 .. K        those that the next round drafts with

so a round needs no call of its own for drafting: this is the aggressive mode of DRiffusion (arXiv 2603.25872), which
holds the last prediction still, with drafts that are learned. Started by ``transfer.ahead_from_teacher``, every q_j is
p_K, and the network is that mode exactly. Of the anchored mode (`drf_jax.sampling.anchored`) the anchor is one more
state that goes in, and there is one head less that looks ahead than there are states.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.drafts import merge_drafts, repeat_cond, split_drafts
from drf_jax.errors import UserError
from drf_jax.networks.cross_draft import CrossDraft
from drf_jax.networks.network import Backbone
from drf_jax.typing import Cond, Drafts, Times


class AheadNetwork(nn.Module):
    """``(drafts [k, b, ...], times [k, b], cond [b, ...]) -> [k + a, b, ...]`` in the drafts' dtype: p, then q.

    ``heads_ahead`` is a, the number of those that look ahead; 0: as many as drafts.

    Parameters: ``embed, trunk, head`` as in a refine network, and ``ahead``, the teacher's head with a leading axis K.
    ``mixer`` is the cross-draft attention after the blocks of the trunk; None: the drafts do not see each other.

    Raises:
      UserError: the number of drafts isn't ``drafts``.
    """

    backbone: Backbone
    drafts: int
    mixer: CrossDraft | None
    heads_ahead: int = 0

    def setup(self) -> None:
        self.embed = self.backbone.embed()
        self.trunk = self.backbone.trunk(self.mixer)
        self.head = self.backbone.head()
        self.ahead = self.backbone.head()

    def __call__(
        self, drafts: Drafts, times: Times, cond: Cond = None
    ) -> Float[Array, "k_and_ahead b *state"]:
        if drafts.shape[0] != self.drafts:
            raise UserError(f"{drafts.shape[0]} drafts: the network was built for {self.drafts}")
        c = self.embed(merge_drafts(times), repeat_cond(cond, self.drafts))
        features = self.trunk(merge_drafts(drafts), c)
        p = split_drafts(self.head(features, c), self.drafts)
        last = split_drafts(features, self.drafts)[-1]
        last_c = split_drafts(c, self.drafts)[-1]
        heads = nn.vmap(
            lambda head: head(last, last_c),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            axis_size=self.heads_ahead or self.drafts,
        )
        return jnp.concatenate([p, heads(self.ahead)]).astype(drafts.dtype)
