"""The order in which examples are trained on: epochs of all of them, each shuffled anew, laid end to end.

    epoch e = the permutation of 0 … n − 1 by NumPy's generator seeded with (seed, e)
    row i   = elements i b … (i + 1) b − 1 of epoch 0, epoch 1, …                                      (1)

A row may span epochs, so no example is dropped, and is a function of i alone.
"""

import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import Int64

Rows = Callable[[int], Int64[np.ndarray, "b"]]


def shuffled_rows(n: int, b: int, seed: int) -> Rows:
    """Equation (1): ``i -> indices``."""

    @functools.lru_cache(maxsize=4)  # the next rows are asked for by several threads
    def epoch(e: int) -> np.ndarray:
        return np.random.default_rng((seed, e)).permutation(n)

    def row(i: int) -> np.ndarray:
        first, last = i * b, (i + 1) * b
        parts = [
            epoch(e)[max(first - e * n, 0) : last - e * n] for e in range(first // n, -(-last // n))
        ]
        return np.concatenate(parts)

    return row
