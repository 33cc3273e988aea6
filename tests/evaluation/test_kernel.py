from pathlib import Path

import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.kernel import kernel_distance, squared_mmd

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "kid_prc.npz")
X, Y = GOLDEN["kid/x"], GOLDEN["kid/y"]


def test_every_subset_is_torch_fidelitys():
    rows = zip(GOLDEN["kid/idx_x"][:20], GOLDEN["kid/idx_y"][:20], strict=True)
    values = [squared_mmd(X[i], Y[j]) for i, j in rows]
    np.testing.assert_allclose(values, GOLDEN["kid/mmd64"][:20], atol=1e-10)


def test_the_same_seed_draws_torch_fidelitys_subsets():
    found = kernel_distance(X, Y, seed=2020)
    for key, name in (("kid", "mean"), ("kid_sd", "std")):
        np.testing.assert_allclose(found[key], GOLDEN[f"kid/{name}64"], atol=1e-10)
        np.testing.assert_allclose(found[key], GOLDEN[f"kid/{name}32"], atol=1e-5)


def test_the_estimate_is_unbiased():
    """Equal laws: the mean over independent sets is 0 within its error, and the sign changes."""
    rng = np.random.default_rng(0)
    values = [squared_mmd(*rng.normal(size=(2, 20, 3))) for _ in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 20
    assert min(values) < 0 < max(values)


def test_a_small_case_is_the_double_sum():
    x, y = np.array([[-1.0], [1.0], [0.0]]), np.array([[0.5], [1.5], [-2.0]])
    kernel = lambda a, b: (a * b + 1) ** 3
    pairs = [(0, 1), (0, 2), (1, 2)]
    within = [np.mean([kernel(z[i, 0], z[j, 0]) for i, j in pairs]) for z in (x, y)]
    between = np.mean([kernel(a, b) for a in x[:, 0] for b in y[:, 0]])
    np.testing.assert_allclose(squared_mmd(x, y), sum(within) - 2 * between)


def test_impossible_subsets_are_refused():
    for size in (1, 1201):
        with pytest.raises(UserError, match=f"subset_size {size} must be .* at most 1200"):
            kernel_distance(X, Y, 0, subset_size=size)
    with pytest.raises(UserError, match="subsets 0 must"):
        kernel_distance(X, Y, 0, subsets=0)
    with pytest.raises(UserError, match="length 16 cannot be compared with 15"):
        kernel_distance(X, Y[:, :15], 0)
