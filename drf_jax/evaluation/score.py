"""Metrics by name, from features to the keys of a result row; several seed sets to mean and deviation.

Each metric is ``(features of the samples, reference) -> {row key: number}``.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from drf_jax.errors import UserError
from drf_jax.evaluation import kernel, precision_recall
from drf_jax.evaluation.frechet import frechet_between
from drf_jax.evaluation.memorisation import memorisation as nearest_neighbours
from drf_jax.evaluation.reference import Reference
from drf_jax.evaluation.report import KEYS
from drf_jax.evaluation.statistics import statistics_of

Features = Float[np.ndarray, "n d"]
SUBSET = 1000
"""Images in a subset of KID, where there are as many."""
SUBSET_SEED = 0


def fd(features: Features, real: Reference) -> dict[str, float]:
    return {"fd": frechet_between(statistics_of(features), real.statistics)}


def kid(features: Features, real: Reference) -> dict[str, float]:
    size = min(SUBSET, len(features), len(real.features))
    return kernel.kernel_distance(features, real.features, SUBSET_SEED, subset_size=size)


def precision_and_recall(features: Features, real: Reference) -> dict[str, float]:
    return precision_recall.precision_recall(features, real.features)


def density_and_coverage(features: Features, real: Reference) -> dict[str, float]:
    return precision_recall.density_coverage(features, real.features)


def memorisation(features: Features, real: Reference) -> dict[str, float]:
    found = nearest_neighbours(features, real.train, real.held_out)
    return {"nearest_ratio": found.ratio, "suspicious_share": found.suspicious}


METRICS: dict[str, Callable[[Features, Reference], dict[str, float]]] = {
    "fd": fd,
    "kid": kid,
    "precision_recall": precision_and_recall,
    "density_coverage": density_and_coverage,
    "memorisation": memorisation,
}
"""What `drf evaluate` can measure; each needs the part of ``Reference`` that is made for it."""


def check_metrics(names: Sequence[str]) -> None:
    """Raise unless every name is a metric."""
    for name in names:
        if name not in METRICS:
            raise UserError(
                f"config.evaluate.metrics: {name!r} is unknown; known: {', '.join(METRICS)}"
            )


def score(features: Features, real: Reference, metrics: Sequence[str]) -> dict[str, float]:
    """Row keys and numbers of all these metrics."""
    found = {}
    for name in metrics:
        found |= METRICS[name](features, real)
    return found


def over_seeds(sets: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Each number's mean over the seed sets, and under ``<key>_sd`` its deviation (n - 1) where rows
    have that key; one set stays as it is. What a set lacks (None) the result lacks."""
    if len(sets) == 1:
        return dict(sets[0])
    means = {}
    for key in sets[0]:
        values = [found[key] for found in sets]
        if key.endswith("_sd"):
            continue
        missing = any(value is None for value in values)
        means[key] = None if missing else float(np.mean(values))
        if f"{key}_sd" in KEYS and not missing:
            means[f"{key}_sd"] = float(np.std(values, ddof=1))
    return means
