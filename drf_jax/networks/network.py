"""The denoising network: embedding, trunk and head of one backbone.

    c = embed(t, cond),    features = trunk(x, c),    output = head(features, c)

What the output means (noise, velocity, data ...) is the denoiser's business. The drafter and the
refiner are made from the same three parts under the same names, which is how they start as the
teacher (see ``transfer``).
"""

from typing import Protocol, runtime_checkable

import flax.linen as nn
from jaxtyping import Array, Float

from drf_jax.networks.cross_draft import CrossDraft
from drf_jax.typing import Cond, Time


@runtime_checkable
class Backbone(Protocol):
    """A hashable description that makes the three parts of a network."""

    heads: int
    dtype: str
    attention_backend: str

    @property
    def embedding_width(self) -> int:
        """Width of the conditioning vector c."""
        ...

    @property
    def head_widths(self) -> tuple[int, ...]:
        """Features of a head, of every self-attention or of every different one."""
        ...

    def embed(self) -> nn.Module:
        """``(t [b], cond) -> c [b, e]``."""
        ...

    def trunk(self, mixer: CrossDraft | None = None) -> nn.Module:
        """``(x [b, ...], c [b, e]) -> features``."""
        ...

    def head(self) -> nn.Module:
        """``(features, c [b, e]) -> [b, ...]``, the shape of x."""
        ...


class DenoisingNetwork(nn.Module):
    """``(x [b, ...], t [b], cond) -> [b, ...]`` in x's dtype; parameters ``embed, trunk, head``."""

    backbone: Backbone

    def setup(self) -> None:
        self.embed = self.backbone.embed()
        self.trunk = self.backbone.trunk()
        self.head = self.backbone.head()

    def __call__(
        self, x: Float[Array, "b *state"], t: Time, cond: Cond = None
    ) -> Float[Array, "b *state"]:
        c = self.embed(t, cond)
        return self.head(self.trunk(x, c), c).astype(x.dtype)
