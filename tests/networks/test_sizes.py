"""Networks of published size have the published number of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.data.conditioning import null_cond
from drf_jax.networks.dit import DiT
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.sizes import SIZES, random_params

MILLIONS = {"dit-s/2": 33, "dit-b/2": 130, "dit-l/2": 458, "dit-xl/2": 675}
"""Peebles & Xie 2023, tables 1 and 4."""


@pytest.mark.parametrize(("name", "millions"), MILLIONS.items())
def test_a_dit_has_the_published_parameters(name, millions):
    backbone = SIZES[name]
    args = (jnp.zeros((1, 32, 32, 4)), jnp.zeros(1), null_cond(backbone, 1))
    shapes = jax.eval_shape(DenoisingNetwork(backbone).init, jax.random.key(0), *args)["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes)) / 1e6
    assert count == pytest.approx(millions, rel=0.02)


def test_random_parameters_fit_and_move_every_part():
    network = DenoisingNetwork(DiT(channels=2, width=8, depth=1, heads=2, num_classes=3))
    x, cond = jnp.ones((1, 4, 4, 2)), {"label": jnp.zeros(1, jnp.int32)}
    params = random_params(network, x, jnp.ones(1), cond, dtype="float32")
    assert all(float(jnp.std(leaf)) > 0.005 for leaf in jax.tree.leaves(params))
    out = network.apply({"params": params}, x, jnp.ones(1), cond)
    assert out.shape == x.shape and np.std(out) > 0
