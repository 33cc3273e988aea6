import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.objectives.draft_refine import state_loss
from drf_jax.objectives.high_frequency import HighFrequency, high_pass
from drf_jax.objectives.terms import Walked
from drf_jax.process.schedule import CosineVP

PROCESS = CosineVP()


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def wave(n, k):
    return jnp.cos(jnp.pi * k * (jnp.arange(n) + 0.5) / n)


@pytest.mark.parametrize(("i", "j"), [(0, 0), (1, 0), (3, 2), (5, 7)])
def test_cosines_are_scaled_by_their_frequency(i, j):
    h, w = 6, 8
    x = (wave(h, i)[:, None] * wave(w, j))[None, ..., None]
    gain = (np.sin(np.pi * i / (2 * h)) ** 2 + np.sin(np.pi * j / (2 * w)) ** 2) / 2
    np.testing.assert_allclose(high_pass(x, (1, 2)), gain * x, atol=1e-12)


def test_only_the_spatial_axes_are_filtered():
    x = jax.random.normal(jax.random.key(0), (2, 3, 1, 5))  # one position
    np.testing.assert_array_equal(high_pass(x, (2,)), 0 * x)
    walked = Walked(
        x[0], jnp.ones((2, 3, 4, 4, 1)), jnp.zeros((2, 3, 4, 4, 1)), jnp.full((3, 3), 0.5)
    )
    walked = walked._replace(times=walked.times * jnp.array([[1.0], [0.8], [0.5]]))
    np.testing.assert_allclose(HighFrequency(PROCESS)(None, walked), 0, atol=1e-12)


def test_it_is_the_main_loss_of_the_filtered_error():
    m, b = 3, 2
    keys = jax.random.split(jax.random.key(1), 3)
    states, targets = (jax.random.normal(key, (m, b, 4, 4, 2)) for key in keys[:2])
    times = jnp.array([[0.9, 0.8], [0.7, 0.6], [0.5, 0.3], [0.0, 0.1]])
    x = jax.random.normal(keys[2], (b, 4, 4, 2))
    found = HighFrequency(PROCESS)(None, Walked(x, states, targets, times))
    sharp = lambda s: high_pass(s, (2, 3))
    expected = state_loss(PROCESS, sharp(states), sharp(targets), times[0], times[1:]).mean(0)
    np.testing.assert_allclose(found, expected)
    assert np.all(found > 0.01)
    assert np.all(found < state_loss(PROCESS, states, targets, times[0], times[1:]).mean(0))
