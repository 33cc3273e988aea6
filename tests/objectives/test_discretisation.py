import math
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.objectives.discretisation import (
    PROPOSALS,
    Discretisation,
    LogNormal,
    doubling,
    uniform,
)
from drf_jax.process.schedule import VE, CosineVP, LinearVP, RectifiedFlow
from drf_jax.sampling.grid import karras

M = 12


def intervals(b=1, m=M):
    return jnp.full(b, m, jnp.int32)


@pytest.mark.parametrize("process", [VE(), CosineVP(), LinearVP()], ids=repr)
def test_levels_are_those_of_the_karras_grid(process):
    cut = Discretisation(process)
    sigma = cut.sigma(jnp.arange(M + 1), intervals(M + 1))
    t = cut.time(sigma)
    np.testing.assert_allclose(t[::-1], karras(process, M + 1)[:-1], rtol=2e-4)
    np.testing.assert_allclose(process.sigma(t) / process.alpha(t), sigma, rtol=2e-3)
    assert sigma[0] == pytest.approx(0.002, rel=1e-4)
    assert sigma[-1] == pytest.approx(cut.sigma_max, rel=1e-4)


def test_every_level_lies_in_its_own_interval():
    cut, n = Discretisation(VE()), jnp.arange(M)
    middle = (cut.sigma(n, intervals(M)) + cut.sigma(n + 1, intervals(M))) / 2
    np.testing.assert_array_equal(cut.index(middle, intervals(M)), n)
    beyond = cut.index(jnp.array([1e-4, 100.0]), intervals(2))
    np.testing.assert_array_equal(beyond, [0, M - 1])


def test_log_normal_proposal_has_the_law_of_the_paper():
    cut, b = Discretisation(VE()), 40_000
    n = LogNormal()(jax.random.key(0), cut, intervals(b))
    levels = np.log(cut.sigma(jnp.arange(M + 1), intervals(M + 1)))
    cdf = np.array([NormalDist(-1.1, 2.0).cdf(x) for x in levels])
    law = np.diff(cdf) / (cdf[-1] - cdf[0])
    found = np.bincount(n, minlength=M) / b
    np.testing.assert_allclose(found, law, atol=4 * math.sqrt(0.25 / b))
    assert law.max() > 3 * law.min()


def test_uniform_proposal_reaches_every_interval_of_each_example():
    m = jnp.tile(jnp.array([1, 3, 8], jnp.int32), 3000)
    n = uniform(jax.random.key(0), Discretisation(VE()), m)
    for size in (1, 3, 8):
        shares = np.bincount(n[m == size], minlength=size) / 3000
        np.testing.assert_allclose(shares, np.full(size, 1 / size), atol=0.04)
    assert PROPOSALS["uniform"]() is uniform and PROPOSALS["log_normal"](0.5).mean == 0.5


def test_intervals_double_in_equal_shares_of_the_training():
    found = [doubling(k, 800, 10, 1280) for k in range(800)]
    values, counts = np.unique(found, return_counts=True)
    np.testing.assert_array_equal(values, 10 * 2 ** np.arange(8))
    np.testing.assert_array_equal(counts, np.full(8, 100))
    assert found == sorted(found)
    assert doubling(99, 100, 2, 9) == 9  # never more than the last, which need not be a power
    assert doubling(50, 100, 17, 17) == 17
    with pytest.raises(UserError, match="from 20 to 10"):
        doubling(0, 10, 20, 10)


def test_a_process_that_ends_without_signal_is_an_error():
    with pytest.raises(UserError, match=r"RectifiedFlow.*inf"):
        Discretisation(RectifiedFlow())
    with pytest.raises(UserError, match=r"above 3\.0"):
        Discretisation(VE(2.0), sigma_min=3.0)
