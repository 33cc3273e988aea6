"""How near the samples are to a reference sampler's from the same noise.

    rmse_i = ( mean over the entries of state i of (x_i - ref_i)^2 )^{1/2}                 (1)
    PSNR_i = 20 log10( 2 / rmse_i )        2: the range of the model's images              (2)

The ``rmse_to_teacher`` of a result row is the mean of (1) over the samples, not the root of the
overall mean square: one diverged sample then moves it in proportion and shows in p99.
"""

import numpy as np
from jaxtyping import Float, Float64

ROWS = 1024
"""States held in float64 at once; both sets may be memory mapped."""


def rmse(
    samples: Float[np.ndarray, "n *state"], reference: Float[np.ndarray, "n *state"]
) -> Float64[np.ndarray, "n"]:
    """Equation (1) for every sample, in the state's units."""
    out = np.empty(len(samples))
    for start in range(0, len(samples), ROWS):
        rows = slice(start, start + ROWS)
        gap = samples[rows].astype(np.float64) - reference[rows].astype(np.float64)
        out[rows] = np.sqrt(np.square(gap).reshape(len(gap), -1).mean(1))
    return out


def rmse_to_reference(
    samples: Float[np.ndarray, "n *state"], reference: Float[np.ndarray, "n *state"]
) -> dict[str, float]:
    """Mean, median and 99th percentile over the samples of (1), in the state's units.

    Args:
      samples: states of the sampler under test.
      reference: the reference sampler's states of the same sample indices.

    Returns:
      ``{"mean", "p50", "p99"}``.
    """
    return summary(rmse(samples, reference))


def summary(errors: Float[np.ndarray, "n"]) -> dict[str, float]:
    """Mean, median and 99th percentile of (1), as `rmse_to_reference` has them."""
    p50, p99 = np.percentile(errors, [50, 99])
    return {"mean": float(errors.mean()), "p50": float(p50), "p99": float(p99)}


def psnr(errors: Float[np.ndarray, "n"]) -> float | None:
    """Mean over the samples of (2), in decibels, from (1); None if a sample equals its reference."""
    return float(20 * np.log10(2 / errors).mean()) if errors.all() else None
