"""Many examples of a source at once, stacked: what a training batch holds, and what is scored.

    {"image": uint8 [n, h, w, c], "label": int32 [n]}
    {"image": ..., "label": ..., "caption_embedding": float32 [n, width]}      of data with captions

A source that holds its images in memory can do this without touching them one by one: it `Gathers`.
"""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

Stacked = dict[str, np.ndarray]


@runtime_checkable
class Gathers(Protocol):
    """A source with a faster way of its own to the same arrays as `stack_examples`."""

    def gather(self, indices: Int64[np.ndarray, "n"]) -> Stacked: ...


def stack_examples(source: Any, indices: Int64[np.ndarray, "n"]) -> Stacked:
    """The examples at ``indices``, asked for one by one."""
    examples = [source[int(i)] for i in indices]
    made = {
        "image": np.empty((len(examples), *source.image_shape), np.uint8),
        "label": np.array([example["label"] for example in examples], np.int32),
    }
    for image, example in zip(made["image"], examples, strict=True):
        image[...] = example["image"]
    if source.caption_width:
        vectors = [example["caption_embedding"] for example in examples]
        made["caption_embedding"] = np.array(vectors, np.float32).reshape(-1, source.caption_width)
    return made


def gather(source: Any, indices: Int64[np.ndarray, "n"]) -> Stacked:
    """The examples at ``indices`` of a `drf_jax.data.source.Source`, in that order."""
    if isinstance(source, Gathers):
        return source.gather(indices)
    return stack_examples(source, indices)
