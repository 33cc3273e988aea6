import jax
import jax.numpy as jnp
import numpy as np

from drf_jax.networks.attention import SelfAttention

X = jax.random.normal(jax.random.key(1), (2, 5, 6))


def test_equals_the_formula(make):
    params, apply = make(SelfAttention(heads=3), X)
    p = jax.tree.map(np.asarray, params)
    q, k, v = np.split(np.asarray(X) @ p["qkv"]["kernel"] + p["qkv"]["bias"], 3, axis=-1)
    heads = []
    for head in (slice(0, 2), slice(2, 4), slice(4, 6)):
        weights = np.exp(q[..., head] @ k[..., head].swapaxes(-1, -2) / np.sqrt(2))
        heads.append(weights / weights.sum(-1, keepdims=True) @ v[..., head])
    expected = np.concatenate(heads, -1) @ p["out"]["kernel"] + p["out"]["bias"]
    np.testing.assert_allclose(apply(params, X), expected, atol=1e-5)


def test_permuting_positions_permutes_the_output(make):
    params, apply = make(SelfAttention(heads=2), X)
    order = jnp.array([3, 0, 4, 1, 2])
    out = apply(params, X)
    np.testing.assert_allclose(apply(params, X[:, order]), out[:, order], atol=1e-6)
    assert jnp.abs(out[:, order] - out).max() > 1e-3
