"""What tests of several kinds of runs start from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import build
from drf_jax.configs import digits
from drf_jax.data.digits import Digits
from drf_jax.denoiser import Denoiser
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.runs.teacher import Teacher


@pytest.fixture(scope="session")
def random_teacher():
    """A small teacher of the digits whose parameters are all random, its head's too."""
    data, config = Digits(), digits.get_config("smoke").to_dict()
    config["network"].update(width=16, depth=1, heads=2)
    network = DenoisingNetwork(build.backbone(config, data))
    shapes = jax.eval_shape(lambda: build.init_teacher(network, data, jax.random.key(0)))
    rng = np.random.default_rng(0)
    draw = lambda leaf: jnp.asarray(0.2 * rng.standard_normal(leaf.shape), jnp.float32)
    denoiser = Denoiser(
        jax.tree.map(draw, shapes), network, build.process(config), build.output(config)
    )
    return Teacher(config, data, network, denoiser, "0" * 64)
