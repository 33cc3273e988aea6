"""How near the samples are to a reference sampler's from the same noise.

    rmse_i = ( mean over the entries of state i of (x_i - ref_i)^2 )^{1/2}                 (1)

The ``rmse_to_teacher`` of a result row is the mean of (1) over the samples, not the root of the
overall mean square: one diverged sample then moves it in proportion and shows in p99.
"""

import numpy as np
from jaxtyping import Float


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
    gap = (samples.astype(np.float64) - reference.astype(np.float64)).reshape(len(samples), -1)
    rmse = np.sqrt(np.square(gap).mean(1))
    p50, p99 = np.percentile(rmse, [50, 99])
    return {"mean": float(rmse.mean()), "p50": float(p50), "p99": float(p99)}
