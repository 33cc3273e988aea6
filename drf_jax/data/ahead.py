"""Batches as a function of the step, made ahead of time by other threads.

``rows`` is Grain's random access to an endless list of batches, and what is trained on is a function of the index
alone. A run asks for one batch after the other, so the next ``BATCHES`` are being made, decoding included, while the
devices work; whoever asks for another step than the next gets the same batch, and reading ahead starts again there.
"""

import os
from collections.abc import Callable
from typing import Any

import grain
import jax

BATCHES = 8
THREADS = min(BATCHES, os.cpu_count() or 1)


def read_ahead(rows: grain.MapDataset) -> Callable[[int], Any]:
    """``step -> rows[step P + p]`` for process p of P."""
    processes, process = jax.process_count(), jax.process_index()
    options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=BATCHES)
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
