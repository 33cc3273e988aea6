import numpy as np
import pytest

from drf_jax.evaluation.fidelity import psnr, rmse, rmse_to_reference


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


def test_many_samples_are_read_part_by_part():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 2500, 3, 2)).astype(np.float32)
    exact = np.sqrt(np.square(x.astype(float) - y).mean((1, 2)))
    np.testing.assert_allclose(rmse(x, y), exact, rtol=1e-12)


def test_psnr_is_that_of_images_in_minus_one_to_one():
    reference = np.zeros((2, 4), np.float32)
    samples = reference + np.float32([[0.2], [0.02]])
    assert psnr(rmse(samples, reference)) == pytest.approx((20 + 40) / 2, abs=1e-4)
    samples[0] = 0
    assert psnr(rmse(samples, reference)) is None
