"""Where images come from: anything that can be indexed, with a name, an image shape and classes.

A source is Grain's ``RandomAccessDataSource`` (``len`` and integer indexing) with a few facts more,
so that networks, classifiers and result files can be built from it.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol, SupportsIndex, runtime_checkable

import numpy as np
from jaxtyping import Int32, Int64, UInt8

from drf_jax.data.decoded import Decodes
from drf_jax.data.digits import Digits
from drf_jax.data.gather import Stacked, gather
from drf_jax.data.prepare import RECIPES
from drf_jax.data.prepared import Prepared
from drf_jax.data.shapes import Shapes
from drf_jax.errors import UserError

Example = dict[str, Any]
"""``{"image": uint8 [h, w, c], "label": int32 []}``, with captions ``"caption_embedding": float32 [caption_width]``,
and what else a source tells (the licence)."""


@runtime_checkable
class Source(Protocol):
    """Random access to labelled images; element i is the same at every call.

    Attributes:
      num_classes: labels are below it; 0: the labels mean nothing.
      classes: their names, or nothing where they have none.
      caption_width: of the examples' ``caption_embedding``; 0: they have none.
    """

    @property
    def name(self) -> str: ...

    @property
    def image_shape(self) -> tuple[int, int, int]: ...

    @property
    def num_classes(self) -> int: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def caption_width(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: SupportsIndex, /) -> Example: ...


SOURCES: dict[str, Callable[..., Source]] = {
    "digits": Digits,
    "shapes": Shapes,
    **{name: partial(Prepared, name) for name in RECIPES},
}
"""Every data set by its name; the values are called with the options of the configuration."""


class First:
    """The first ``limit`` elements of a source, under the same name; all if it has fewer."""

    def __init__(self, source: Source, limit: int):
        if limit < 1:
            raise UserError(f"data set {source.name!r}: limit {limit} must be at least 1")
        self.name, self.image_shape = source.name, source.image_shape
        self.num_classes, self.classes = source.num_classes, source.classes
        self.caption_width = source.caption_width
        self._source, self._length = source, min(limit, len(source))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: SupportsIndex) -> Example:
        return self._source[range(self._length)[index]]

    def gather(self, indices: Int64[np.ndarray, "n"]) -> Stacked:
        return gather(self._source, np.arange(self._length)[indices])

    def decode(self, indices: Int64[np.ndarray, "n"]) -> None:
        if isinstance(self._source, Decodes):
            self._source.decode(np.arange(self._length)[indices])


def load_source(name: str, limit: int | None = None, **options: Any) -> Source:
    """The source of that name; where ``limit`` is given, its first so many elements.

    Raises:
      UserError: there is no such source, or the limit is below 1.
    """
    if name not in SOURCES:
        raise UserError(f"data set {name!r} is unknown; known: {', '.join(sorted(SOURCES))}")
    source = SOURCES[name](**options)
    return source if limit is None else First(source, limit)


def take(
    source: Source, indices: Iterable[SupportsIndex]
) -> tuple[UInt8[np.ndarray, "n h w c"], Int32[np.ndarray, "n"]]:
    """The images and labels at ``indices``, stacked in that order (held in memory)."""
    made = gather(source, np.fromiter(indices, np.int64))
    return made["image"], made["label"]
