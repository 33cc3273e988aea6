import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from drf_jax.networks.network import DenoisingNetwork

X = jax.random.normal(jax.random.key(1), (2, 4, 8, 2))
T = jnp.array([0.3, 0.8])


def test_parts_and_fresh_output(backbone, cond, fresh):
    network = DenoisingNetwork(backbone)
    params, apply = fresh(network, X, T, cond)
    assert set(params) == {"embed", "trunk", "head"}
    np.testing.assert_array_equal(apply(params, X, T, cond), jnp.zeros_like(X))


def test_every_input_matters_and_examples_are_independent(backbone, cond, make):
    params, apply = make(DenoisingNetwork(backbone), X, T, cond)
    out = apply(params, X, T, cond)
    first = jnp.array([1.0, 0.0])
    for x, t, label in (
        (X + first[:, None, None, None], T, cond["label"]),
        (X, T + 0.1 * first, cond["label"]),
        (X, T, jnp.array([3, 2])),
    ):
        moved = jnp.abs(apply(params, x, t, {"label": label}) - out).max(axis=(1, 2, 3))
        assert moved[0] > 1e-3
        assert moved[1] < 1e-6


def test_bfloat16_computes_close_to_float32_from_the_same_parameters(backbone, cond, make):
    params, apply = make(DenoisingNetwork(backbone), X, T, cond)
    half = DenoisingNetwork(dataclasses.replace(backbone, dtype="bfloat16"))
    half_params, half_apply = make(half, X, T, cond)
    assert {p.dtype for p in jax.tree.leaves(half_params)} == {jnp.dtype("float32")}
    out, rough = apply(params, X, T, cond), half_apply(params, X, T, cond)
    assert rough.dtype == jnp.float32
    error = jnp.linalg.norm(rough - out) / jnp.linalg.norm(out)
    assert 1e-5 < error < 0.1


def test_float64_agrees_with_float32(backbone, cond, make, jit):
    params, apply = make(DenoisingNetwork(backbone), X, T, cond)
    out = apply(params, X, T, cond)
    with jax.enable_x64(True):
        double = DenoisingNetwork(dataclasses.replace(backbone, dtype="float64"))
        wide = jax.tree.map(lambda p: jnp.asarray(p, jnp.float64), params)
        x, t = X.astype(jnp.float64), T.astype(jnp.float64)
        fresh = jax.eval_shape(double.init, jax.random.key(0), x, t, cond)["params"]
        assert {p.dtype for p in jax.tree.leaves(fresh)} == {jnp.dtype("float64")}
        exact = jit(double.apply)({"params": wide}, x, t, cond)
        assert exact.dtype == jnp.float64
        np.testing.assert_allclose(np.asarray(exact), np.asarray(out), atol=1e-3)
