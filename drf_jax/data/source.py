"""Where images come from: anything that can be indexed, with a name, an image shape and classes.

A source is Grain's ``RandomAccessDataSource`` (``len`` and integer indexing) with three facts more,
so that networks, classifiers and result files can be built from it.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol, SupportsIndex, runtime_checkable

import numpy as np
from jaxtyping import Int32, UInt8

from drf_jax.data.digits import Digits
from drf_jax.data.prepare import RECIPES
from drf_jax.data.prepared import Prepared
from drf_jax.errors import UserError

Example = dict[str, Any]
"""``{"image": uint8 [h, w, c], "label": int32 []}``, and what else a source tells (a caption)."""


@runtime_checkable
class Source(Protocol):
    """Random access to labelled images; element i is the same at every call."""

    @property
    def name(self) -> str: ...

    @property
    def image_shape(self) -> tuple[int, int, int]: ...

    @property
    def num_classes(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: SupportsIndex, /) -> Example: ...


SOURCES: dict[str, Callable[..., Source]] = {
    "digits": Digits,
    **{name: partial(Prepared, name) for name in RECIPES},
}
"""Every data set by its name; the values are called with the options of the configuration."""


def load_source(name: str, **options: Any) -> Source:
    """The source of that name.

    Raises:
      UserError: there is no such source.
    """
    if name not in SOURCES:
        raise UserError(f"data set {name!r} is unknown; known: {', '.join(sorted(SOURCES))}")
    return SOURCES[name](**options)


def take(
    source: Source, indices: Iterable[SupportsIndex]
) -> tuple[UInt8[np.ndarray, "n h w c"], Int32[np.ndarray, "n"]]:
    """The images and labels at ``indices``, stacked in that order (held in memory)."""
    examples = [source[i] for i in indices]
    images = np.empty((len(examples), *source.image_shape), np.uint8)
    for image, example in zip(images, examples, strict=True):
        image[...] = example["image"]
    return images, np.array([example["label"] for example in examples], np.int32)
