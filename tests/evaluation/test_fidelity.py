import numpy as np
import pytest

from drf_jax.evaluation.fidelity import rmse_to_reference


def test_mean_and_quantiles_are_over_the_samples():
    reference = np.zeros((101, 2, 2, 1), np.float32)
    samples = reference + np.arange(101, dtype=np.float32)[:, None, None, None]
    samples[:, 0, 0] *= -1  # the sign of an error does not matter
    assert rmse_to_reference(samples, reference) == pytest.approx(
        {"mean": 50, "p50": 50, "p99": 99}
    )


def test_root_of_the_mean_square_is_taken_within_a_sample():
    result = rmse_to_reference(np.array([[3.0, 4.0]]), np.zeros((1, 2)))
    assert result["mean"] == pytest.approx(np.sqrt(12.5))


def test_zero_against_itself():
    x = np.random.default_rng(0).normal(size=(5, 3))
    assert rmse_to_reference(x, x) == {"mean": 0, "p50": 0, "p99": 0}
