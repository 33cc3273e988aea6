"""Tiny backbones and random parameters for the network tests."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.networks.dit import DiT
from drf_jax.networks.unet import UNet

BACKBONES = {
    "dit": DiT(channels=2, patch=2, width=8, depth=2, heads=2, num_classes=3),
    "unet": UNet(
        channels=2,
        width=8,
        multipliers=(1, 2),
        blocks=1,
        attention=(False, True),
        heads=2,
        num_classes=3,
    ),
}


@pytest.fixture(params=sorted(BACKBONES))
def backbone(request):
    return BACKBONES[request.param]


@pytest.fixture
def cond():
    return {"label": jnp.array([0, 2])}


@pytest.fixture(scope="session")
def jit():
    """``jax.jit`` that compiles quickly rather than well."""
    return functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="session")
def fresh(jit):
    """``fresh(network, *args) -> (parameters as initialised, jitted apply)``."""
    built = {}

    def build(network, *args):
        if network not in built:
            params = jit(network.init)(jax.random.key(5), *args)["params"]
            built[network] = params, jit(lambda p, *a: network.apply({"params": p}, *a))
        return built[network]

    return build


@pytest.fixture(scope="session")
def make(jit):
    """``make(network, *args) -> (random parameters, none at its zero init, jitted apply)``."""

    @functools.cache
    def compiled(network):
        return jit(lambda p, *a: network.apply({"params": p}, *a))

    def build(network, *args, seed=0):
        shapes = jax.eval_shape(network.init, jax.random.key(0), *args)["params"]
        rng = np.random.default_rng(seed)

        def draw(leaf):
            scale = max(10, math.prod(leaf.shape[:-1])) ** -0.5
            return jnp.asarray(scale * rng.standard_normal(leaf.shape), leaf.dtype)

        return jax.tree.map(draw, shapes), compiled(network)

    return build
