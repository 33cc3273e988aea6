import zlib
from pathlib import Path

import numpy as np
import pytest

from drf_jax.evaluation.frechet import frechet_between, frechet_distance, nuclear_norm
from drf_jax.evaluation.statistics import statistics_of

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "frechet.npz")


def golden(case):
    return (GOLDEN[f"{case}/{name}"] for name in ("mu1", "sigma1", "mu2", "sigma2"))


def normal(name, shape):
    seed = zlib.crc32(name.encode())
    return np.random.Generator(np.random.Philox(key=seed)).standard_normal(shape)


@pytest.mark.parametrize("case", ["d64", "d64_same_cov", "diag"])
def test_regular_covariances_match_pytorch_fid(case):
    np.testing.assert_allclose(frechet_distance(*golden(case)), GOLDEN[f"{case}/fid"], rtol=1e-9)


@pytest.mark.parametrize("case", ["d64_singular", "d64_rank"])
def test_singular_covariances_match_the_nuclear_norm(case):
    value = frechet_distance(*golden(case))
    np.testing.assert_allclose(value, GOLDEN[f"{case}/fid_nuclear"], rtol=1e-9)


@pytest.mark.parametrize(
    ("case", "n1", "n2", "rtol"), [("d256", 1000, 800, 1e-9), ("d256_singular", 100, 120, 1e-9)]
)
def test_wide_features_match_the_nuclear_norm(case, n1, n2, rtol):
    x = normal(f"fid-{case}-x", (n1, 256)) * np.linspace(0.5, 1.5, 256)
    y = normal(f"fid-{case}-y", (n2, 256)) * np.linspace(0.6, 1.2, 256) + 0.05
    a, b = statistics_of(x), statistics_of(y)
    traces = [np.trace(a.covariance), np.trace(b.covariance)]
    np.testing.assert_allclose(traces, GOLDEN[f"{case}/trace_sigma"], rtol=1e-12)
    np.testing.assert_allclose(frechet_between(a, b), GOLDEN[f"{case}/fid_nuclear"], rtol=rtol)


@pytest.mark.parametrize("n", [200, 20])
def test_distance_to_itself_is_zero(n):
    x = statistics_of(normal("fid-self", (n, 64)) * np.linspace(0.5, 1.5, 64))
    assert 0 <= frechet_between(x, x) < 1e-10


def test_commuting_covariances_have_a_closed_form():
    """C_i = Q diag(s_i^2) Q^T: d^2 = |mu_1 - mu_2|^2 + |s_1 - s_2|^2; zeros allowed."""
    q, _ = np.linalg.qr(normal("q", (5, 5)))
    s1, s2 = np.array([0.0, 0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.5, 0.0, 2.0, 0.5])
    mu1, mu2 = normal("mu1", 5), normal("mu2", 5)
    expected = np.square(mu1 - mu2).sum() + np.square(s1 - s2).sum()
    covs = [(q * s**2) @ q.T for s in (s1, s2)]
    np.testing.assert_allclose(frechet_distance(mu1, covs[0], mu2, covs[1]), expected, rtol=1e-12)
    np.testing.assert_allclose(frechet_distance(mu2, covs[1], mu1, covs[0]), expected, rtol=1e-12)


def test_two_points_are_their_squared_distance_apart():
    zero = np.zeros((3, 3))
    assert frechet_distance(np.zeros(3), zero, np.array([1.0, 2.0, 2.0]), zero) == 9


@pytest.mark.parametrize("low", [1e-3, 1e-6, 1e-10])
def test_ill_conditioned_covariances_keep_their_small_directions(low):
    """As above, standard deviations from ``low`` to 1 in every order."""
    q, _ = np.linalg.qr(normal("q", (40, 40)))
    s1, s2 = (np.geomspace(1, low, 40)[order] for order in (np.arange(40), np.arange(40) * 7 % 40))
    covs = [(q * s**2) @ q.T for s in (s1, s2)]
    distance = frechet_distance(np.zeros(40), covs[0], np.zeros(40), covs[1])
    np.testing.assert_allclose(distance, np.square(s1 - s2).sum(), rtol=1e-8)


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (5, 0)])
@pytest.mark.parametrize("rank", [1, 3, 9])
def test_nuclear_norm_is_the_sum_of_singular_values(shape, rank):
    matrix = normal("left", (shape[0], rank)) @ normal("right", (rank, shape[1]))
    singular = np.linalg.svd(matrix, compute_uv=False)
    np.testing.assert_allclose(nuclear_norm(matrix), singular.sum(), rtol=1e-12)


@pytest.mark.parametrize("diagonal", [[1, 0, 2], [0, 0, 0], [1e-200, 1, 3], [1e300, 1e300, 1]])
def test_nuclear_norm_of_extreme_matrices(diagonal):
    matrix = np.diag(np.array(diagonal, float))
    np.testing.assert_allclose(nuclear_norm(matrix), np.sum(diagonal), rtol=1e-12)


@pytest.mark.parametrize(
    ("case", "n1", "n2"), [("d2048", 3000, 2500), ("d2048_singular", 500, 400)]
)
def test_inceptions_width_matches_the_nuclear_norm(case, n1, n2):
    x = normal(f"fid-{case}-x", (n1, 2048)) * np.linspace(0.5, 1.5, 2048)
    y = normal(f"fid-{case}-y", (n2, 2048)) * np.linspace(0.6, 1.2, 2048) + 0.02
    distance = frechet_between(statistics_of(x), statistics_of(y))
    np.testing.assert_allclose(distance, GOLDEN[f"{case}/fid_nuclear"], rtol=1e-9)
