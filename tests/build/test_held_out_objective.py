"""The held-out loss is the training's, exact: float32, all of the conditioning, the same parameters."""

import jax
import jax.numpy as jnp
import numpy as np

from drf_jax import build
from drf_jax.configs import digits
from drf_jax.data.digits import Digits
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.runs.examples import example_batches

DATA = Digits()


def objective(dtype, dropout):
    config = digits.get_config("smoke")
    config.network.update(width=16, depth=1, heads=2, dtype=dtype)
    config.objective.cond_dropout = dropout
    return build.denoising(config, DenoisingNetwork(build.backbone(config, DATA)))


def test_neither_dtype_nor_dropout_change_it():
    plain = objective("float32", 0.0)
    shapes = jax.eval_shape(lambda: build.init_teacher(plain.network, DATA, jax.random.key(0)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda s: jnp.asarray(0.2 * rng.normal(size=s.shape), s.dtype), shapes)
    batch, key = jax.device_put(example_batches(DATA, 16, 0)(0)), jax.random.key(1)
    expected, _ = plain(params, None, batch, key)
    trained = objective("bfloat16", 0.5)
    assert not np.allclose(trained(params, None, batch, key)[0], expected, rtol=1e-4)
    found, _ = build.measured(trained)(params, None, batch, key)
    np.testing.assert_array_equal(found, expected)
