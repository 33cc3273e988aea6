import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.networks.group_norm import GroupNorm


@pytest.mark.parametrize("shape", [(2, 4, 6, 12), (3, 5, 8)])
@pytest.mark.parametrize("affine", [True, False])
def test_it_is_flax_s(shape, affine):
    keys = jax.random.split(jax.random.key(0), 3)
    h = 3 * jax.random.normal(keys[0], shape) + 0.5
    theirs = nn.GroupNorm(4, use_scale=affine, use_bias=affine)
    params = theirs.init(jax.random.key(1), h)
    params = jax.tree.map(lambda leaf: jax.random.normal(keys[1], leaf.shape), params)
    ours = GroupNorm(4, affine)
    assert jax.tree.structure(params) == jax.tree.structure(ours.init(jax.random.key(1), h))
    np.testing.assert_allclose(ours.apply(params, h), theirs.apply(params, h), atol=2e-5)


def test_a_constant_map_stays_finite_and_bfloat16_is_kept():
    h = jnp.full((2, 4, 4, 8), 100.0, jnp.bfloat16)
    y = GroupNorm(2, dtype="bfloat16").apply(
        {"params": {"scale": jnp.ones(8), "bias": jnp.zeros(8)}}, h
    )
    assert y.dtype == jnp.bfloat16
    assert bool(jnp.isfinite(y).all())
    assert float(jnp.abs(y).max()) < 1.0
