import pytest

from drf_jax.plan.search import largest


@pytest.mark.parametrize("limit", [1, 2, 7, 8, 100, 1000])
@pytest.mark.parametrize("start", [1, 8, 300])
def test_it_ends_within_an_eighth_below_the_limit(limit, start):
    asked = []
    low, high = largest(lambda n: asked.append(n) or n <= limit, start, 40)
    assert low <= limit < high and high - low <= max(1, low // 8)
    assert len(asked) <= 2 * 10 + 2 and len(asked) == len(set(asked))


def test_nothing_fits():
    assert largest(lambda n: False, 64, 40) == (0, 1)


def test_everything_fits():
    assert largest(lambda n: True, 1, 5) == (16, None)


def test_it_asks_no_more_often_than_it_may():
    asked = []
    low, high = largest(lambda n: asked.append(n) or n <= 1000, 1, 3)
    assert (low, high, asked) == (4, None, [1, 2, 4])
