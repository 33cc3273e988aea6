"""Examples that a run never trains on, so that its checkpoints can be ranked while it trains.

A run that chose its checkpoint by the test split would report that split's figures too well, so the examples are taken
out of the training split: n drawn by a fixed seed, the same ones for every run on the same data.
"""

from typing import SupportsIndex

import numpy as np
from jaxtyping import Int64

from drf_jax.data.gather import Stacked, gather
from drf_jax.data.source import Example, Source
from drf_jax.errors import UserError

SEED = 0


class Part:
    """The elements of a source at ``indices``, under the same name."""

    def __init__(self, source: Source, indices: Int64[np.ndarray, "n"]):
        self.name, self.image_shape = source.name, source.image_shape
        self.num_classes, self.classes = source.num_classes, source.classes
        self.caption_width = source.caption_width
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: SupportsIndex) -> Example:
        return self._source[int(self._indices[index])]

    def gather(self, indices: Int64[np.ndarray, "n"]) -> Stacked:
        return gather(self._source, self._indices[indices])


def hold_out(source: Source, count: int) -> tuple[Source, Source]:
    """What is left to train on, in the source's order, and the ``count`` examples held out; 0 leaves it as it is.

    Raises:
      UserError: the source has no more than ``count`` examples.
    """
    if count >= len(source):
        raise UserError(
            f"config.train.held_out = {count}: the data {source.name} have only {len(source)} examples"
        )
    order = np.random.default_rng(SEED).permutation(len(source))
    return Part(source, np.sort(order[count:])), Part(source, order[:count])
