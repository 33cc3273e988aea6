"""Refine network: all drafted states in, one prediction for each out, in one call.

The drafts d_j at times t_j go through the teacher's network side by side, as one batch ``(b k)``,
each at its own time; after the blocks of the trunk they look at each other (``cross_draft``). The
attention's output starts at zero, so a refine network made by ``transfer.refiner_from_teacher`` is
the teacher evaluated at every draft: the parallel call of DRiffusion (arXiv 2603.25872).
"""

import flax.linen as nn

from drf_jax.drafts import merge_drafts, repeat_cond, split_drafts
from drf_jax.errors import UserError
from drf_jax.networks.cross_draft import CrossDraft
from drf_jax.networks.network import Backbone
from drf_jax.typing import Cond, Drafts, Times


class RefineNetwork(nn.Module):
    """``(drafts [k, b, ...], times [k, b], cond [b, ...]) -> [k, b, ...]`` in the drafts' dtype.

    Parameters: ``embed, trunk, head`` as in the teacher, and ``trunk/mix_<i>`` for the cross-draft
    attention, ``mixer``; None: the drafts do not see each other.

    Raises:
      UserError: the number of drafts isn't ``drafts``.
    """

    backbone: Backbone
    drafts: int
    mixer: CrossDraft | None

    def setup(self) -> None:
        self.embed = self.backbone.embed()
        self.trunk = self.backbone.trunk(self.mixer)
        self.head = self.backbone.head()

    def __call__(self, drafts: Drafts, times: Times, cond: Cond = None) -> Drafts:
        if drafts.shape[0] != self.drafts:
            raise UserError(f"{drafts.shape[0]} drafts: the network was built for {self.drafts}")
        c = self.embed(merge_drafts(times), repeat_cond(cond, self.drafts))
        out = self.head(self.trunk(merge_drafts(drafts), c), c)
        return split_drafts(out, self.drafts).astype(drafts.dtype)
