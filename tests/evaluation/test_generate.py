import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.evaluation.generate import generate
from drf_jax.noise import initial_noise, sample_keys

ROOT = jax.random.key(7)
SHAPE = (3, 2)


@jax.jit
def toy(noise, keys, cond):
    """Nonlinear and stochastic, but each sample on its own."""
    own = jax.vmap(lambda key: jax.random.normal(key, SHAPE))(keys)
    shift = 0 if cond is None else cond["label"][:, None, None]
    return jnp.where(noise > 0, noise * 2, own) + shift


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 64])
def test_samples_do_not_depend_on_the_batch_size(batch_size):
    indices = np.arange(10)
    expected = toy(
        initial_noise(sample_keys(ROOT, indices), SHAPE), sample_keys(ROOT, indices), None
    )
    samples = generate(toy, ROOT, indices, SHAPE, batch_size=batch_size)
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, expected)


def test_any_subset_in_any_order_gives_the_same_samples():
    whole = generate(toy, ROOT, np.arange(8), SHAPE)
    some = np.array([6, 1, 3])
    np.testing.assert_array_equal(generate(toy, ROOT, some, SHAPE, batch_size=2), whole[some])


def test_sample_keys_are_folded_from_the_index():
    keys = sample_keys(ROOT, np.array([0, 5]))
    assert keys[1] == jax.random.fold_in(ROOT, 5)


def test_noise_is_standard_and_differs_between_samples_and_roots():
    keys = sample_keys(ROOT, np.arange(2000))
    noise = np.asarray(initial_noise(keys, (10,)))
    assert abs(noise.mean()) < 0.03 and abs(noise.std() - 1) < 0.03
    assert abs(np.corrcoef(noise[:-1, 0], noise[1:, 0])[0, 1]) < 0.1
    assert len(np.unique(noise[:, 0])) > 1990
    other = initial_noise(sample_keys(jax.random.key(8), np.arange(2000)), (10,))
    assert (noise != other).any(1).all()


def test_noise_does_not_share_the_key_that_the_sampler_gets():
    keys = sample_keys(ROOT, np.arange(4))
    own = jax.vmap(lambda key: jax.random.normal(key, SHAPE))(keys)
    assert (np.asarray(initial_noise(keys, SHAPE)) != own).all()


def test_conditioning_follows_the_sample_index_and_shapes_stay_fixed():
    shapes = set()

    def sampler(noise, keys, cond):
        shapes.add((noise.shape, keys.shape, cond["label"].shape))
        return jnp.zeros_like(noise) + cond["label"][:, None, None]

    samples = generate(
        sampler, ROOT, np.arange(5, 12), SHAPE, lambda i: {"label": jnp.asarray(i % 10)}, 4
    )
    np.testing.assert_array_equal(samples[:, 0, 0], [5, 6, 7, 8, 9, 0, 1])
    assert shapes == {((4, *SHAPE), (4,), (4,))}


def test_no_indices_give_no_samples():
    assert generate(toy, ROOT, np.arange(0), SHAPE).shape == (0, *SHAPE)
