import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.memorisation import memorisation

RNG = np.random.default_rng(0)
TRAIN, HELD_OUT, FRESH = (RNG.normal(size=(n, 4)).astype(np.float32) for n in (500, 400, 300))


def test_fresh_samples_are_as_far_as_held_out_data():
    found = memorisation(FRESH, TRAIN, HELD_OUT)
    assert 0.9 < found.ratio < 1.1
    assert found.suspicious < 0.03 and found.baseline == 4 / 400


def test_held_out_data_score_their_own_baseline():
    found = memorisation(HELD_OUT, TRAIN, HELD_OUT, quantile=0.2)
    assert found.ratio == 1
    assert found.suspicious == found.baseline == pytest.approx(0.2, abs=0.01)


def test_copies_are_found_with_their_originals():
    rows = RNG.permutation(500)[:60]
    copies = TRAIN[rows] + 1e-4 * RNG.normal(size=(60, 4)).astype(np.float32)
    found = memorisation(np.concatenate([copies, FRESH[:60]]), TRAIN, HELD_OUT)
    np.testing.assert_array_equal(found.neighbour[:60], rows)
    assert found.distance[:60].max() < 1e-3 < found.distance[60:].min()
    assert 0.5 <= found.suspicious < 0.55
    assert memorisation(copies, TRAIN, HELD_OUT).ratio < 0.01


def test_exact_copies_are_found_though_a_held_out_image_is_a_duplicate():
    held_out = np.concatenate([TRAIN[:4], HELD_OUT])
    found = memorisation(TRAIN[10:20], TRAIN, held_out)
    assert found.suspicious == 1 and found.ratio == 0


def test_empty_sets_and_leaked_data_are_refused():
    with pytest.raises(UserError, match="the set held_out is empty"):
        memorisation(FRESH, TRAIN, HELD_OUT[:0])
    with pytest.raises(UserError, match="most of the held-out data are in the training data"):
        memorisation(FRESH, TRAIN, TRAIN[:50])
