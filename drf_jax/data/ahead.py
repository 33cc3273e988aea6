"""Batches as a function of the step, made ahead of time by Grain's threads.

What is trained on is a function of the row's index alone. A run asks for one batch after the other, so the next
``BATCHES`` are being made, decoding included, while the devices work; whoever asks for another step than the next gets
the same batch, and reading ahead starts again there.
"""

import os
from collections.abc import Callable
from typing import Any

import grain
import jax

BATCHES = 8
THREADS = min(4, os.cpu_count() or 1)
"""Few: what they do in memory holds Python's lock, what they decode does not."""
ENDLESS = 2**48


def read_ahead(make: Callable[[int], Any]) -> Callable[[int], Any]:
    """``step -> make(step P + p)`` for process p of P."""
    processes, process = jax.process_count(), jax.process_index()
    options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=BATCHES)
    rows = grain.MapDataset.range(ENDLESS).map(make)
    following, ahead = -1, iter(())

    def batch(step: int) -> Any:
        nonlocal following, ahead
        if step != following:
            mine = rows[slice(step * processes + process, None, processes)]
            ahead = iter(mine.to_iter_dataset(options))
        following = -1  # what follows an error is read anew
        made = next(ahead)
        following = step + 1
        return made

    return batch
