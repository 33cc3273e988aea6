"""The Fréchet distance between two Gaussians (Heusel et al. 2017; no square root is taken).

    d^2 = |mu_1 - mu_2|^2 + tr C_1 + tr C_2 - 2 tr (C_1^{1/2} C_2 C_1^{1/2})^{1/2}         (1)

With C_i = F_i F_i^T, F_i = V_i max(Lambda_i, 0)^{1/2} from the eigendecomposition, the last
trace is the sum of the singular values of F_1^T F_2 (its nuclear norm):

    tr (C_1^{1/2} C_2 C_1^{1/2})^{1/2} = || F_1^T F_2 ||_*                                 (2)

Unlike a matrix square root of C_1 C_2, (2) is real, symmetric in its arguments and accurate when
the covariances are singular: eigenvalues at the level of rounding are dropped, and no square
root of a rounding error enters the sum.
"""

import numpy as np
from jaxtyping import Float64

from drf_jax.evaluation.statistics import Statistics


def frechet_distance(
    mu1: Float64[np.ndarray, "d"],
    cov1: Float64[np.ndarray, "d d"],
    mu2: Float64[np.ndarray, "d"],
    cov2: Float64[np.ndarray, "d d"],
) -> float:
    """Squared Fréchet distance, equations (1) and (2), never below 0."""
    cross = np.linalg.svd(_factor(cov1).T @ _factor(cov2), compute_uv=False).sum()
    between = np.square(mu1 - mu2).sum()
    return max(0.0, float(between + np.trace(cov1) + np.trace(cov2) - 2 * cross))


def frechet_between(a: Statistics, b: Statistics) -> float:
    """Squared Fréchet distance between two sets of features."""
    return frechet_distance(a.mean, a.covariance, b.mean, b.covariance)


def _factor(covariance: Float64[np.ndarray, "d d"]) -> Float64[np.ndarray, "d r"]:
    """F with F F^T = covariance, one column for each eigenvalue above the level of rounding."""
    values, vectors = np.linalg.eigh(covariance)
    keep = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    return vectors[:, keep] * np.sqrt(values[keep])
