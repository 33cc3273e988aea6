import tracemalloc

import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.statistics import empty, merge, statistics_of, update

X = np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32)


def close(a, b):
    assert a.n == b.n
    np.testing.assert_allclose(a.mean, b.mean, rtol=1e-13)
    np.testing.assert_allclose(a.covariance, b.covariance, rtol=1e-12)


def test_batches_of_any_size_give_numpys_mean_and_covariance():
    stream = empty(4)
    for part in np.split(X, [1, 1, 8, 40]):
        stream = update(stream, part)
    assert stream.n == 50
    np.testing.assert_allclose(stream.mean, X.astype(np.float64).mean(0), rtol=1e-13)
    np.testing.assert_allclose(stream.covariance, np.cov(X.astype(np.float64).T), rtol=1e-12)


def test_merge_commutes_and_has_a_neutral_element():
    a, b = statistics_of(X[:20]), statistics_of(X[20:])
    close(merge(a, b), statistics_of(X))
    close(merge(b, a), statistics_of(X))
    close(merge(a, empty(4)), a)
    close(merge(empty(4), a), a)
    assert merge(empty(4), empty(4)).n == 0


def test_a_large_offset_does_not_cancel():
    shifted = X.astype(np.float64) + 1e7
    stream = update(update(empty(4), shifted[:7]), shifted[7:])
    np.testing.assert_allclose(stream.covariance, np.cov(shifted.T), rtol=1e-7)


def test_one_sample_has_no_covariance():
    with pytest.raises(UserError, match="at least 2 samples, got 1"):
        _ = statistics_of(X[:1]).covariance


def test_memory_does_not_grow_with_the_samples(tmp_path):
    """Features on disk, read through a memory map."""
    peaks = []
    for n in (10_000, 40_000):
        np.save(tmp_path / "features.npy", np.ones((n, 16), np.float32))
        stored = np.load(tmp_path / "features.npy", mmap_mode="r")
        tracemalloc.start()
        assert statistics_of(stored).n == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 40_000 * 16 * 8


def test_rows_beyond_one_part_are_not_lost():
    features = np.random.default_rng(1).normal(size=(9001, 2))
    stream = statistics_of(features)
    assert stream.n == 9001
    np.testing.assert_allclose(stream.covariance, np.cov(features.T), rtol=1e-12)
