"""Memory for the decoded examples of a data set, one for all sources of the same images in a process.

A run opens its data anew, and so does the next run of a process: what one has decoded, the other finds.
"""

import weakref
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64
from tqdm import tqdm

THREADS, CHUNK = 2, 256
"""Of `decode_all`: most of what they do holds Python's lock."""


class Decoded:
    """Places for n examples.

    Attributes:
      images: uint8 [n, h, w, c].
      labels: int32 [n].
      rest: [n], the other entries of each example.
      done: bool [n], which of them are there.
    """

    def __init__(self, count: int, image_shape: tuple[int, ...]):
        self.images = np.empty((count, *image_shape), np.uint8)
        self.labels = np.empty(count, np.int32)
        self.rest: list[dict[str, Any]] = [{}] * count
        self.done = np.zeros(count, bool)

    def put(self, i: int, example: dict[str, Any]) -> None:
        """Keep an example, which is taken apart."""
        self.images[i], self.labels[i] = example.pop("image"), example["label"]
        self.rest[i] = example
        self.done[i] = True


_known: weakref.WeakValueDictionary[Hashable, Decoded] = weakref.WeakValueDictionary()


def shared(key: Hashable, count: int, image_shape: tuple[int, ...]) -> Decoded:
    """The memory of this key while anybody holds it; new otherwise."""
    found = _known.get(key)
    if found is None:
        found = _known[key] = Decoded(count, image_shape)
    return found


@runtime_checkable
class Decodes(Protocol):
    """A source that keeps what it has decoded, where there is memory for it."""

    def __len__(self) -> int: ...

    def decode(self, indices: Int64[np.ndarray, "n"]) -> None:
        """Have these in memory, if all fit; nothing otherwise."""
        ...


def decode_all(source: Any) -> None:
    """Have all of a source's images in memory, if they fit, before something is timed that reads them.

    Raises:
      UserError: an image cannot be read.
    """
    if not isinstance(source, Decodes):
        return
    every = np.arange(len(source))
    chunks = np.split(every, every[CHUNK::CHUNK])
    with ThreadPoolExecutor(THREADS) as pool:
        bar = tqdm(total=len(source), desc="decoding", unit="image", delay=1, leave=False)
        with bar:
            for chunk, _ in zip(chunks, pool.map(source.decode, chunks), strict=True):
                bar.update(len(chunk))
