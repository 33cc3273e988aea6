import jax
import jax.numpy as jnp
import numpy as np

from drf_jax.networks.resblock import AttentionBlock, Stage, group_norm, modulate

H = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
C = jax.random.normal(jax.random.key(1), (2, 6))


def test_group_norm_normalises_each_group():
    h = 3 + 2 * jnp.concatenate([H] * 5, axis=-1)  # 40 channels: gcd(32, 40) = 8 groups of 5
    norm = group_norm(40, "float32", "norm", affine=False)
    y = norm.apply({}, h).reshape(2, 16, 8, 5)
    np.testing.assert_allclose(y.mean(axis=(1, 3)), np.zeros((2, 8)), atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(1, 3)), np.ones((2, 8)), atol=1e-4)


def test_modulate_shifts_then_scales():
    modulation = jnp.concatenate([jnp.full((2, 8), 3.0), jnp.full((2, 8), 1.0)], axis=-1)
    np.testing.assert_allclose(modulate(H, modulation), 2 * H + 3)


def test_a_fresh_stage_is_the_identity(make, fresh):
    stage = Stage(channels=8, heads=2, attention=True, dtype="float32")
    params, apply = fresh(stage, H, C)
    np.testing.assert_array_equal(apply(params, H, C), H)
    params, apply = make(stage, H, C)
    assert jnp.abs(apply(params, H, C + 1) - apply(params, H, C)).max() > 1e-3


def test_attention_block_knows_no_positions(make):
    params, apply = make(AttentionBlock(heads=2, dtype="float32"), H)
    out = apply(params, H)
    np.testing.assert_allclose(apply(params, H[:, ::-1]), out[:, ::-1], atol=1e-5)
    np.testing.assert_allclose(apply(params, H.swapaxes(1, 2)), out.swapaxes(1, 2), atol=1e-5)
    assert jnp.abs(out - H).max() > 1e-2
