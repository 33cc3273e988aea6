import jax
import jax.numpy as jnp
import numpy as np

from drf_jax.networks.adaln import Block, modulated_norm

H = jax.random.normal(jax.random.key(0), (2, 3, 8))
C = jax.random.normal(jax.random.key(1), (2, 4))


def test_modulated_norm_has_the_given_mean_and_deviation():
    shift, scale = jnp.array([[1.0], [2.0]]), jnp.array([[0.5], [3.0]])
    y = modulated_norm(H, jnp.broadcast_to(shift, (2, 8)), jnp.broadcast_to(scale, (2, 8)))
    np.testing.assert_allclose(y.mean(-1), jnp.broadcast_to(shift, (2, 3)), atol=1e-5)
    np.testing.assert_allclose(y.std(-1), jnp.broadcast_to(1 + scale, (2, 3)), rtol=1e-4)


def test_a_fresh_block_is_the_identity(make, fresh):
    block = Block(heads=2, mlp_ratio=2, dtype="float32")
    params, apply = fresh(block, H, C)
    np.testing.assert_array_equal(apply(params, H, C), H)
    params, apply = make(block, H, C)
    assert jnp.abs(apply(params, H, C) - H).max() > 1e-2
