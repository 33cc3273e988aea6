"""A compiled sampler's program does not grow with its rounds, and little with its drafts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.denoiser import Denoiser
from drf_jax.networks.dit import DiT
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.process.schedule import CosineVP
from drf_jax.sampling import driffusion, grid
from drf_jax.sampling.draft import AggressiveDrafter, ConservativeDrafter
from drf_jax.sampling.refine import ParallelRefiner

PROCESS, X = CosineVP(), jnp.zeros((1, 4, 4, 2))


@pytest.fixture(scope="module")
def denoiser():
    network = DenoisingNetwork(DiT(channels=2, width=8, depth=2, heads=2))
    shapes = jax.eval_shape(network.init, jax.random.key(0), X, jnp.zeros(1))["params"]
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return Denoiser(params, network, PROCESS, "v")


def size(denoiser, drafter, rounds, drafts=3):
    """Lines of the sampler's StableHLO; the parameters are arguments."""
    steps = rounds * (drafts + drafter.extra_steps)
    made = driffusion.make_rounds(grid.uniform(PROCESS, steps), drafts, drafter.extra_steps)
    assert len(made.times) == rounds

    def run(params, x):
        model = Denoiser(params, denoiser.network, PROCESS, "v")
        return driffusion.sample(drafter(model), ParallelRefiner(model), PROCESS, made, x).x

    return len(jax.jit(run).lower(denoiser.params, X).as_text().splitlines())


@pytest.mark.parametrize("drafter", [ConservativeDrafter, AggressiveDrafter])
def test_rounds_and_drafts_do_not_lengthen_the_program(denoiser, drafter):
    two = size(denoiser, drafter, 2)
    assert abs(size(denoiser, drafter, 8) - two) <= 0.02 * two
    assert abs(size(denoiser, drafter, 2, drafts=12) - two) <= 0.02 * two


def test_the_network_is_in_it_once_a_call_of_a_round(denoiser):
    """Anchor and drafts: two calls, whatever the number of rounds; so about two networks' lines."""
    call = lambda params, x: (
        Denoiser(params, denoiser.network, PROCESS, "v")(x, jnp.ones(len(x))).x0
    )
    one = len(jax.jit(call).lower(denoiser.params, X).as_text().splitlines())
    assert 2 * one < size(denoiser, ConservativeDrafter, 4) < 4 * one
