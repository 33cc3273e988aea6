"""Mean and covariance of a stream of features, in float64 on the host.

Kept are the count n, the mean mu and the scatter S = sum_i (f_i - mu)(f_i - mu)^T. Two parts
merge by

    delta = mu_2 - mu_1,   n = n_1 + n_2
    mu = mu_1 + delta n_2 / n                                                     (1)
    S  = S_1 + S_2 + delta delta^T n_1 n_2 / n                                    (2)

(Chan, Golub and LeVeque 1983), which has none of the cancellation of sum f f^T - n mu mu^T. The
covariance is S / (n - 1), as in ``numpy.cov`` and in the usual FID codes. Whatever the number of
samples, no more than ``ROWS`` of them are held in float64 at once.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from drf_jax.errors import UserError

ROWS = 4096


@dataclass(frozen=True)
class Statistics:
    """Count, mean and scatter of ``n`` feature vectors of length d."""

    n: int
    mean: Float64[np.ndarray, "d"]
    scatter: Float64[np.ndarray, "d d"]

    @property
    def covariance(self) -> Float64[np.ndarray, "d d"]:
        """Scatter / (n - 1).

        Raises:
          UserError: fewer than two vectors were seen.
        """
        if self.n < 2:
            raise UserError(f"a covariance needs at least 2 samples, got {self.n}")
        return self.scatter / (self.n - 1)


def empty(d: int) -> Statistics:
    """Statistics of nothing, where a stream starts."""
    return Statistics(0, np.zeros(d), np.zeros((d, d)))


def merge(a: Statistics, b: Statistics) -> Statistics:
    """Statistics of both parts together, equations (1) and (2)."""
    n = a.n + b.n
    if n == 0:
        return a
    delta = b.mean - a.mean
    mean = a.mean + delta * (b.n / n)
    return Statistics(n, mean, a.scatter + b.scatter + np.outer(delta, delta) * (a.n * b.n / n))


def update(statistics: Statistics, features: Float[np.ndarray, "n d"]) -> Statistics:
    """Statistics with one more batch of feature vectors; a batch may be empty."""
    for start in range(0, len(features), ROWS):
        part = features[start : start + ROWS].astype(np.float64)
        n = statistics.n + len(part)
        mean = part.mean(0)
        delta = mean - statistics.mean
        # The last term of (2) is one row more of the same product.
        between = delta * np.sqrt(statistics.n * len(part) / n)
        rows = np.concatenate([part - mean, between[None]])
        scatter = rows.T @ rows
        scatter += statistics.scatter
        statistics = Statistics(n, statistics.mean + delta * (len(part) / n), scatter)
    return statistics


def statistics_of(features: Float[np.ndarray, "n d"]) -> Statistics:
    """Statistics of all features at once; a memory-mapped array is read part by part."""
    return update(empty(features.shape[1]), features)
