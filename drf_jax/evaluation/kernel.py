"""Kernel Inception Distance (Bińkowski et al. 2018, arXiv 1801.01401) in any feature space.

    k(a, b) = (a.b / d + 1)^3                                                               (1)
    MMD^2 = ( sum_{i != j} k(x_i, x_j) + sum_{i != j} k(y_i, y_j) ) / (m (m - 1))
            - 2 / m^2 sum_{i, j} k(x_i, y_j)                                                (2)

(2) is unbiased and may be negative. KID is the mean of (2) over random subsets of m of both sets,
with the standard deviation over the subsets beside it; no factor of 1000.
"""

import numpy as np
from jaxtyping import Float

from drf_jax.errors import UserError


def squared_mmd(x: Float[np.ndarray, "m d"], y: Float[np.ndarray, "m d"]) -> float:
    """Unbiased squared maximum mean discrepancy of two sets of equal size, (1) and (2)."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    m = len(x)
    within = sum(k.sum() - np.trace(k) for k in (_kernel(x, x), _kernel(y, y)))
    return float(within / (m * (m - 1)) - 2 * _kernel(x, y).mean())


def kernel_distance(
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "l e"],
    seed: int,
    subsets: int = 100,
    subset_size: int = 1000,
) -> dict[str, float]:
    """KID over random subsets, in float64.

    Args:
      x: features of the one set.
      y: features of the other.
      seed: of the subsets. They are drawn as torch-fidelity draws them, so one seed means the same
        subsets there and here.
      subsets: how many.
      subset_size: m, at most the size of the smaller set.

    Returns:
      ``{"kid", "kid_sd"}``; the standard deviation divides by the number of subsets.

    Raises:
      UserError: the sets are smaller than a subset, a subset is smaller than 2, there are no
        subsets, or the features differ in length.
    """
    if x.shape[1] != y.shape[1]:
        raise UserError(f"features of length {x.shape[1]} cannot be compared with {y.shape[1]}")
    smaller = min(len(x), len(y))
    if not 2 <= subset_size <= smaller:
        raise UserError(f"kid subset_size {subset_size} must be at least 2 and at most {smaller}")
    if subsets < 1:
        raise UserError(f"kid subsets {subsets} must be at least 1")
    # The legacy generator: its stream is frozen, and it is what torch-fidelity uses.
    rng = np.random.RandomState(seed)
    draw = lambda features: features[rng.choice(len(features), subset_size, replace=False)]
    values = [squared_mmd(draw(x), draw(y)) for _ in range(subsets)]
    return {"kid": float(np.mean(values)), "kid_sd": float(np.std(values))}


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    k = a @ b.T / a.shape[1] + 1
    return k * k * k
