import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation import distance
from drf_jax.evaluation.distance import nearest, squared_radii, tiles

RNG = np.random.default_rng(0)
A, B = RNG.normal(5, 1, (23, 3)), RNG.normal(5, 1, (31, 3)).astype(np.float32)


def table(a, b):
    return np.square(a[:, None] - b[None].astype(float)).sum(-1)


@pytest.fixture(params=[(1024, 4096), (7, 5), (5, 31)])
def small_tiles(request, monkeypatch):
    monkeypatch.setattr(distance, "ROWS", request.param[0])
    monkeypatch.setattr(distance, "COLUMNS", request.param[1])


def test_tiles_make_up_the_table(small_tiles):
    whole = np.full((len(A), len(B)), np.nan)
    for rows, columns, squared in tiles(A, B):
        whole[rows, columns] = squared
    np.testing.assert_allclose(whole, table(A, B), atol=1e-12)


@pytest.mark.parametrize("k", [1, 3, 22])
def test_radii_are_those_of_the_sorted_table(small_tiles, k):
    expected = np.sort(table(A, A), 1)[:, k]
    np.testing.assert_allclose(squared_radii(A, k), expected, atol=1e-12)


def test_a_copy_is_a_neighbour_but_the_vector_itself_is_not(small_tiles):
    pair = np.concatenate([A, A])
    np.testing.assert_allclose(squared_radii(pair, 1), 0, atol=1e-12)
    assert squared_radii(A, 1).min() > 0


def test_nearest_finds_the_smallest_and_its_place(small_tiles):
    found, index = nearest(A, B)
    np.testing.assert_array_equal(index, table(A, B).argmin(1))
    np.testing.assert_allclose(found, np.sqrt(table(A, B).min(1)), atol=1e-7)


def test_impossible_questions_are_refused():
    for k in (0, 23):
        with pytest.raises(UserError, match=f"k = {k} neighbours: .* below the 23 samples"):
            squared_radii(A, k)
    with pytest.raises(UserError, match="length 3 cannot be compared with 2"):
        list(tiles(A, B[:, :2]))
    with pytest.raises(UserError, match="no vectors"):
        nearest(A, B[:0])
