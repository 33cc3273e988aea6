"""What a network is conditioned on, without the images: for sampling where the data set is not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Int64

from drf_jax.data.gather import Stacked, gather
from drf_jax.data.source import Source
from drf_jax.errors import UserError


@dataclass(frozen=True)
class Conditions:
    """A `Source` whose examples lack the image: their label, and ``caption_embedding`` where there are captions."""

    name: str
    image_shape: tuple[int, int, int]
    num_classes: int
    classes: tuple[str, ...]
    caption_width: int
    examples: Mapping[str, np.ndarray]

    def __post_init__(self):
        label, caption = self.examples.get("label"), self.examples.get("caption_embedding")
        if label is None or not len(label):
            raise UserError(f"conditions of {self.name}: there is no label")
        if self.caption_width and (
            caption is None or caption.shape != (len(label), self.caption_width)
        ):
            raise UserError(
                f"conditions of {self.name}: there must be {len(label)} caption embeddings of {self.caption_width}"
            )

    def __len__(self) -> int:
        return len(self.examples["label"])

    def __getitem__(self, index: SupportsIndex, /) -> dict[str, Any]:
        return {name: values[index] for name, values in self.examples.items()}

    def gather(self, indices: Int64[np.ndarray, "n"]) -> Stacked:
        """As `drf_jax.data.gather.gather`, without images."""
        return {name: values[indices] for name, values in self.examples.items()}


def conditions_of(source: Source, count: int) -> Conditions:
    """The first ``count`` examples of a source, all if it has fewer."""
    made = gather(source, np.arange(min(count, len(source))))
    return Conditions(
        source.name,
        tuple(source.image_shape),
        source.num_classes,
        tuple(source.classes),
        source.caption_width,
        {name: values for name, values in made.items() if name != "image"},
    )
