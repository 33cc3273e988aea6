"""The real data as the metrics see them: statistics, and features of as many images as they need.

    statistics   of all images of the split, or from a file          fd
    features     of as many images as there are samples              kid, precision_recall, density_coverage
    train        of all images of the split                          memorisation
    held_out     of images that were not trained on                  memorisation

The images of ``features`` are a random choice that is always the same; numbers of images must be equal there, because
precision and its like depend on them.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8
from tqdm import tqdm

from drf_jax.data.image import to_uint8
from drf_jax.data.source import Source, take
from drf_jax.errors import UserError
from drf_jax.evaluation.extractor import Extractor
from drf_jax.evaluation.statistics import Statistics, empty, statistics_of, update
from drf_jax.evaluation.statistics_file import check_compatible, load_statistics, provenance_of

ROWS = 1024
"""Images held at once."""


@dataclass(frozen=True)
class Reference:
    """Features of the real data; what no metric asked for is None."""

    statistics: Statistics | None = None
    features: Float32[np.ndarray, "n d"] | None = None
    train: Float32[np.ndarray, "m d"] | None = None
    held_out: Float32[np.ndarray, "h d"] | None = None


def make_reference(
    metrics: Collection[str],
    extractor: Extractor,
    source: Source,
    samples: int,
    *,
    statistics: str | Path = "",
    held_out: Source | None = None,
    limit: int = 0,
) -> Reference:
    """Extract what these metrics need.

    Args:
      metrics: names in ``score.METRICS``.
      extractor: of the features.
      source: the real data.
      samples: number of samples that will be compared.
      statistics: file of the real data's statistics (`drf stats`), used instead of ``source``; it
        must be of the same data, sizes, rounding and extractor.
      held_out: data of the same kind that was not trained on; memorisation needs it.
      limit: at most this many images of ``source``, the first ones; 0: all.

    Raises:
      UserError: the statistics file doesn't fit, or there are no held-out data.
    """
    count = min(len(source), limit or len(source))
    train = held = chosen = found = None
    if "memorisation" in metrics:
        if held_out is None:
            raise UserError(f"memorisation needs held-out data of {source.name}")
        train = stack(source_features(extractor, source, range(count)))
        held = stack(source_features(extractor, held_out, range(min(len(held_out), samples))))
    if {"kid", "precision_recall", "density_coverage"} & set(metrics):
        order = np.random.default_rng(0).permutation(count)[:samples]
        chosen = stack(source_features(extractor, source, np.sort(order)))
    if "fd" in metrics:
        if statistics:
            found = compatible_statistics(statistics, extractor, source)
        elif train is not None:
            found = statistics_of(train)
        else:
            found = source_statistics(extractor, source, range(count))
    return Reference(found, chosen, train, held)


def compatible_statistics(path: str | Path, extractor: Extractor, source: Source) -> Statistics:
    """Statistics from a file, if they are of this data in this feature space.

    Raises:
      UserError: they are of something else; the message names what differs.
    """
    statistics, theirs = load_statistics(path)
    ours = provenance_of(
        extractor,
        dataset=source.name,
        split="samples",
        count=statistics.n,
        image_shape=source.image_shape,
    )
    try:
        check_compatible(theirs, ours)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return statistics


def source_features(
    extractor: Extractor, source: Source, indices: Sequence[int] | np.ndarray
) -> Iterator[Float32[np.ndarray, "n d"]]:
    """Features of these images, part by part."""
    with tqdm(total=len(indices), desc="features", unit="img", disable=None, leave=False) as bar:
        for start in range(0, len(indices), ROWS):
            part = indices[start : start + ROWS]
            yield extractor.extract(take(source, part)[0])
            bar.update(len(part))


def source_statistics(
    extractor: Extractor, source: Source, indices: Sequence[int] | np.ndarray
) -> Statistics:
    """Statistics of these images; memory does not grow with their number."""
    statistics = None
    for features in source_features(extractor, source, indices):
        statistics = update(statistics or empty(features.shape[1]), features)
    if statistics is None:
        raise UserError(f"{source.name}: zero images; statistics need at least 2")
    return statistics


def state_features(
    extractor: Extractor, states: Float[np.ndarray, "n h w c"]
) -> Float32[np.ndarray, "n d"]:
    """Features of samples as they would be stored; the samples may be memory mapped."""
    parts = (states[start : start + ROWS] for start in range(0, len(states), ROWS))
    return stack(extractor.extract(stored(part)) for part in parts)


def stored(states: Float[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h w c"]:
    """Samples as images, away from the file they are mapped from."""
    return to_uint8(np.array(states))


def stack(parts: Iterable[Float32[np.ndarray, "n d"]]) -> Float32[np.ndarray, "m d"]:
    """All parts as one array."""
    return np.concatenate(list(parts))
