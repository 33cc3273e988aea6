import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.objectives.draft_refine import jump_scale
from drf_jax.objectives.perceptual import Perceptual, implied_x0, map_distance
from drf_jax.objectives.terms import Walked
from drf_jax.process.prediction import Prediction, expand
from drf_jax.process.schedule import CosineVP
from drf_jax.sampling.transition import skip

PROCESS = CosineVP()


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def normal(*shape, key=0):
    return jax.random.normal(jax.random.key(key), shape, jnp.float64)


def pair():
    """Anchors and the times of a jump, the second to the data."""
    return normal(2, 4, 4, 1, key=1), jnp.array([0.9, 0.6]), jnp.array([0.3, 0.0])


def test_a_jump_implies_the_x0_that_it_was_made_with():
    x, t, u = pair()
    x0 = normal(2, 4, 4, 1)
    eps = (x - expand(PROCESS.alpha(t), x) * x0) / expand(PROCESS.sigma(t), x)
    x_u = skip(PROCESS, Prediction(x0, eps), u)
    np.testing.assert_allclose(implied_x0(PROCESS, x, t, x_u, u), x0, atol=1e-12)
    np.testing.assert_allclose(x_u[1], x0[1], atol=1e-12)  # at the data it is the state itself


def test_a_states_error_is_that_of_its_image_whatever_its_noise():
    """r − x* = (c / σ_t) (x̂0 − x̂0*): the error in units of v is, up to σ_t, that of what is looked at."""
    x, t, u = pair()
    a, b = normal(2, 4, 4, 1), normal(2, 4, 4, 1, key=3)
    difference = implied_x0(PROCESS, x, t, a, u) - implied_x0(PROCESS, x, t, b, u)
    factor = expand(PROCESS.sigma(t) / jump_scale(PROCESS, t[None], u[None])[0], x)
    np.testing.assert_allclose(difference, factor * (a - b), atol=1e-12)


def test_distance_of_maps():
    a, b = normal(2, 3, 3, 4), normal(2, 3, 3, 4, key=1)
    found = map_distance((a, a), (b, b))
    cosine = jnp.sum(a * b, -1) / (jnp.linalg.norm(a, axis=-1) * jnp.linalg.norm(b, axis=-1))
    np.testing.assert_allclose(found, 2 * (2 - 2 * cosine).mean((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(map_distance((a,), (3 * a,)), 0, atol=1e-12)  # of directions only
    zero = jax.grad(lambda x: map_distance((x,), (b,)).sum())(0 * a)
    assert jnp.isfinite(zero).all()


def test_only_the_end_of_a_round_is_looked_at_and_only_the_student_learns():
    times = jnp.array([[0.9, 0.9], [0.5, 0.5], [0.2, 0.2]])
    features = lambda params, image: (params * image, image**2)
    loss = Perceptual(PROCESS, features)
    frozen = {"features": jnp.array([1.0, 2.0])}
    states, targets = normal(2, 2, 4, 4, 2), normal(2, 2, 4, 4, 2, key=2)
    x = normal(2, 4, 4, 2, key=3)

    def value(states, targets):
        return loss(frozen, Walked(x, states, targets, times)).sum()

    ours, theirs = jax.grad(value, (0, 1))(states, targets)
    assert jnp.all(ours[0] == 0) and jnp.any(ours[1] != 0) and jnp.all(theirs == 0)
    np.testing.assert_allclose(value(states, states), 0, atol=1e-12)
    image = lambda s: implied_x0(PROCESS, x, times[0], s[-1], times[-1])
    maps = lambda s: features(frozen["features"], image(s))
    np.testing.assert_allclose(
        value(states, targets), map_distance(maps(states), maps(targets)).sum()
    )
