import jax
import jax.numpy as jnp
import numpy as np

from drf_jax.objectives.distance import DISTANCES, Huber, PseudoHuber, squared

A, B = (jax.random.normal(jax.random.key(i), (3, 4, 2)) for i in range(2))


def test_squared_is_the_mean_over_the_entries():
    np.testing.assert_allclose(squared(A, B), ((A - B) ** 2).mean((1, 2)), rtol=1e-6)


def test_pseudo_huber_is_the_formula_and_its_two_limits():
    norm, c = jnp.sqrt(((A - B) ** 2).sum((1, 2))), 0.3 * 8**0.5
    np.testing.assert_allclose(PseudoHuber(0.3)(A, B), jnp.sqrt(norm**2 + c**2) - c, rtol=1e-5)
    np.testing.assert_allclose(PseudoHuber(1e-6)(A, B), norm, rtol=1e-4)
    far = 1e4
    np.testing.assert_allclose(far * 8**0.5 * PseudoHuber(far)(A, B), norm**2 / 2, rtol=1e-4)


def test_huber_is_taken_entry_by_entry():
    entries = jnp.sqrt((A - B) ** 2 + 0.25) - 0.5
    np.testing.assert_allclose(Huber(0.5)(A, B), entries.mean((1, 2)), rtol=1e-5)


def test_equal_states_have_distance_and_gradient_zero():
    for make in DISTANCES.values():
        distance = make()
        value, slope = jax.value_and_grad(lambda a, f=distance: f(a, A).sum())(A)
        assert value == 0 and (slope == 0).all()
