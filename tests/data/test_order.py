import numpy as np
import pytest

from drf_jax.data.order import shuffled_rows


@pytest.mark.parametrize("b", [1, 4, 7, 10, 25])
def test_rows_are_the_epochs_laid_end_to_end(b):
    rows = shuffled_rows(10, b, seed=3)
    laid = np.concatenate([rows(i) for i in range(40)])
    assert all(len(rows(i)) == b for i in range(5))
    epochs = laid[: len(laid) // 10 * 10].reshape(-1, 10)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(10), (len(epochs), 1)))
    assert len({tuple(epoch) for epoch in epochs[:4]}) == min(4, len(epochs))


def test_a_row_depends_on_seed_and_index_only():
    rows, again = shuffled_rows(100, 8, seed=1), shuffled_rows(100, 8, seed=1)
    backwards = [again(i) for i in reversed(range(60))][::-1]
    np.testing.assert_array_equal([rows(i) for i in range(60)], backwards)
    assert (shuffled_rows(100, 8, seed=2)(0) != rows(0)).any()


def test_rows_of_half_the_size_are_the_halves():
    whole, halves = shuffled_rows(10, 8, seed=0), shuffled_rows(10, 4, seed=0)
    np.testing.assert_array_equal(np.concatenate([halves(6), halves(7)]), whole(3))
