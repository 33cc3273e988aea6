"""Euclidean distances between two sets of vectors, tile by tile, in float64.

    |a - b|^2 = |a|^2 + |b|^2 - 2 a.b

The full table of distances never exists: memory does not grow with the number of vectors.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float64, Int

from drf_jax.errors import UserError

ROWS, COLUMNS = 1024, 4096

Tile = tuple[slice, slice, np.ndarray]
"""Rows of a, rows of b, and their squared distances [rows, columns]."""


def tiles(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m e"]) -> Iterator[Tile]:
    """Squared distances between all rows of ``a`` and all rows of ``b``, tile after tile.

    Raises:
      UserError: the vectors differ in length.
    """
    if a.shape[1] != b.shape[1]:
        raise UserError(f"features of length {a.shape[1]} cannot be compared with {b.shape[1]}")
    for i in range(0, len(a), ROWS):
        rows = slice(i, min(i + ROWS, len(a)))
        x = a[rows].astype(np.float64)
        for j in range(0, len(b), COLUMNS):
            columns = slice(j, min(j + COLUMNS, len(b)))
            y = b[columns].astype(np.float64)
            squared = x @ y.T
            squared *= -2
            squared += np.square(x).sum(1)[:, None]
            squared += np.square(y).sum(1)
            yield rows, columns, np.maximum(squared, 0, out=squared)


def squared_radii(x: Float[np.ndarray, "n d"], k: int) -> Float64[np.ndarray, "n"]:
    """Squared distance of each vector to its k-th nearest neighbour, itself not counted.

    Raises:
      UserError: there are not more than k vectors, or k is below 1.
    """
    if not 1 <= k < len(x):
        raise UserError(f"k = {k} neighbours: must be at least 1 and below the {len(x)} samples")
    nearest = np.full((len(x), k), np.inf)
    for rows, columns, squared in tiles(x, x):
        own = np.arange(rows.start, rows.stop)
        own = own[(columns.start <= own) & (own < columns.stop)]
        squared[own - rows.start, own - columns.start] = np.inf
        candidates = np.concatenate([nearest[rows], squared], 1)
        nearest[rows] = np.partition(candidates, k - 1, 1)[:, :k]
    return nearest.max(1)


def nearest(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m e"]
) -> tuple[Float64[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Distance from each row of ``a`` to the nearest row of ``b``, and that row's index.

    Raises:
      UserError: ``b`` is empty, or the vectors differ in length.
    """
    if len(b) == 0:
        raise UserError("there is nothing to be near to: the second set has no vectors")
    best = np.full(len(a), np.inf)
    index = np.zeros(len(a), np.int64)
    for rows, columns, squared in tiles(a, b):
        column = squared.argmin(1)
        value = squared[np.arange(len(squared)), column]
        closer = value < best[rows]
        best[rows][closer] = value[closer]
        index[rows][closer] = column[closer] + columns.start
    return np.sqrt(best), index
