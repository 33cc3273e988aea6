"""The Fréchet distance between two Gaussians (Heusel et al. 2017; no square root is taken).

    d^2 = |mu_1 - mu_2|^2 + tr C_1 + tr C_2 - 2 tr (C_1^{1/2} C_2 C_1^{1/2})^{1/2}         (1)

With any factors C_i = F_i F_i^T, the last trace is the sum of the singular values of F_1^T F_2 (its
nuclear norm):

    tr (C_1^{1/2} C_2 C_1^{1/2})^{1/2} = || F_1^T F_2 ||_*                                 (2)

Unlike a matrix square root of C_1 C_2, (2) is real, symmetric in its arguments and accurate when
the covariances are singular: F_i comes from Cholesky's factorisation with pivots, which stops at the
level of rounding, and no square root of a rounding error enters the sum.

The nuclear norm of a square A is tr U^T A, with U its nearest orthogonal matrix. Newton's iteration
with Higham's scaling (1986) reaches U in about 8 inversions, whatever the condition of A:

    X <- (g X + (g X)^{-T}) / 2,   g = (|X^{-1}|_1 |X^{-1}|_inf / |X|_1 / |X|_inf)^{1/4}   (3)

These steps are products of matrices, several times as fast as eigenvalues for wide features.
"""

import numpy as np
from jaxtyping import Float64
from scipy.linalg.lapack import dpstrf

from drf_jax.evaluation.statistics import Statistics


def frechet_distance(
    mu1: Float64[np.ndarray, "d"],
    cov1: Float64[np.ndarray, "d d"],
    mu2: Float64[np.ndarray, "d"],
    cov2: Float64[np.ndarray, "d d"],
) -> float:
    """Squared Fréchet distance, equations (1) and (2), never below 0."""
    cross = nuclear_norm(_factor(cov1).T @ _factor(cov2))
    between = np.square(mu1 - mu2).sum()
    return max(0.0, float(between + np.trace(cov1) + np.trace(cov2) - 2 * cross))


def frechet_between(a: Statistics, b: Statistics) -> float:
    """Squared Fréchet distance between two sets of features."""
    return frechet_distance(a.mean, a.covariance, b.mean, b.covariance)


def nuclear_norm(matrix: Float64[np.ndarray, "r s"]) -> float:
    """Sum of the singular values, equation (3); where that fails, from the values themselves."""
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    square = tall if tall.shape[0] == tall.shape[1] else np.linalg.qr(tall, mode="r")
    if not square.any():
        return 0.0
    with np.errstate(all="ignore"):
        orthogonal = _nearest_orthogonal(square)
    if orthogonal is None:
        return float(np.linalg.svd(square, compute_uv=False).sum())
    return float(np.vdot(orthogonal, square))


def _nearest_orthogonal(x: Float64[np.ndarray, "n n"]) -> Float64[np.ndarray, "n n"] | None:
    """Equation (3); None if x is exactly singular or its inverse overflows."""
    norms = lambda x: np.linalg.norm(x, 1) * np.linalg.norm(x, np.inf)
    for _ in range(20):
        try:
            inverse = np.linalg.inv(x)
        except np.linalg.LinAlgError:
            return None
        scale = (norms(inverse) / norms(x)) ** 0.25
        last, x = x, (scale * x + inverse.T / scale) / 2
        # The error that is left is the square of the step.
        if np.linalg.norm(x - last) < 1e-7 * np.linalg.norm(x):
            return x
    return None


def _factor(covariance: Float64[np.ndarray, "d d"]) -> Float64[np.ndarray, "d r"]:
    """F with F F^T = covariance and one column for each pivot above the level of rounding."""
    upper, pivots, rank, _ = dpstrf(covariance)
    factor = np.empty((len(covariance), rank))
    factor[pivots - 1] = np.triu(upper)[:rank].T
    return factor
