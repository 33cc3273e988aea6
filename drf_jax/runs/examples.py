"""Batches of the data with their conditioning, as the objectives that learn from data take them."""

from collections.abc import Callable
from typing import Any

from drf_jax.data.conditioning import condition
from drf_jax.data.pipeline import batches
from drf_jax.data.source import Source


def example_batches(data: Source, batch_size: int, seed: int) -> Callable[[int], dict[str, Any]]:
    """``step -> {"x0": float32 [b, h, w, c] in [-1, 1], "cond": {name: [b, ...]}}``."""
    stored = batches(data, batch_size, seed)

    def batch(step: int) -> dict[str, Any]:
        examples = stored(step)
        return {"x0": examples["image"], "cond": condition(data, examples)}

    return batch
