"""Doubling and convolving at once is doubling, then convolving."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.networks.doubling import DoublingConv, doubled_convolution


def expected(h, kernel):
    large = h.repeat(2, axis=1).repeat(2, axis=2)
    names = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(large, kernel, (1, 1), "SAME", dimension_numbers=names)


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 1, 1, 2), (1, 4, 2, 1)])
def test_it_is_the_convolution_of_the_doubled_image(shape):
    with jax.enable_x64(True):
        h = jax.random.normal(jax.random.key(0), shape, jnp.float64)
        kernel = jax.random.normal(jax.random.key(1), (3, 3, shape[-1], 7), jnp.float64)
        np.testing.assert_allclose(doubled_convolution(h, kernel), expected(h, kernel), atol=1e-12)


def test_gradients_are_those_of_the_convolution():
    with jax.enable_x64(True):
        h = jax.random.normal(jax.random.key(0), (2, 3, 4, 2), jnp.float64)
        kernel = jax.random.normal(jax.random.key(1), (3, 3, 2, 3), jnp.float64)
        loss = lambda fn: lambda *args: jnp.sum(jnp.sin(fn(*args)))
        of = lambda fn: jax.grad(loss(fn), argnums=(0, 1))(h, kernel)
        found, wanted = of(doubled_convolution), of(expected)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), found, wanted)


def test_parameters_are_those_of_a_convolution():
    h, key = jnp.ones((1, 4, 4, 6)), jax.random.key(0)
    made = DoublingConv(8, "float32").init(key, h)["params"]
    known = nn.Conv(8, (3, 3)).init(key, h)["params"]
    assert jax.tree.structure(made) == jax.tree.structure(known)
    jax.tree.map(np.testing.assert_array_equal, made, known)
    assert np.abs(made["kernel"]).max() > 0


def test_it_computes_in_its_dtype():
    module, h = DoublingConv(8, "bfloat16"), jnp.ones((1, 4, 4, 6))
    params = module.init(jax.random.key(0), h)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert module.apply(params, h).dtype == jnp.bfloat16
