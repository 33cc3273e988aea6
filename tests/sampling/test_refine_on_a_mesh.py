"""A batch that is split over devices stays split through the parallel call: no device waits for another."""

import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from drf_jax.denoiser import Denoiser
from drf_jax.networks.cross_draft import CrossDraft
from drf_jax.networks.dit import DiT
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.refiner import RefineNetwork
from drf_jax.process.schedule import CosineVP
from drf_jax.sampling.refine import LearnedRefiner, ParallelRefiner
from drf_jax.sharding import make_mesh

PROCESS, K, B = CosineVP(), 3, 16
BACKBONE = DiT(channels=2, width=16, depth=1, heads=2, num_classes=2)
NETWORK, REFINE = (
    DenoisingNetwork(BACKBONE),
    RefineNetwork(BACKBONE, K, CrossDraft(K, BACKBONE.heads)),
)
LABELS = {"label": jnp.zeros(B, jnp.int32)}


def zeros(network, *args):
    shapes = jax.eval_shape(network.init, jax.random.key(0), *args)["params"]
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def parallel():
    params = zeros(NETWORK, jnp.zeros((B, 4, 4, 2)), jnp.zeros(B), LABELS)
    return ParallelRefiner(Denoiser(params, NETWORK, PROCESS, "v"))


def learned():
    params = zeros(REFINE, jnp.zeros((K, B, 4, 4, 2)), jnp.zeros((K, B)), LABELS)
    return LearnedRefiner(params, REFINE, PROCESS, "v")


@pytest.mark.parametrize("make", [parallel, learned])
def test_the_parallel_call_needs_no_exchange(make):
    mesh = make_mesh()
    put = lambda leaf, spec: jax.device_put(leaf, NamedSharding(mesh, spec))
    refiner = jax.tree.map(lambda leaf: put(leaf, P()), make())
    states, times = jnp.zeros((K, B, 4, 4, 2)), jnp.full((K, B), 0.5)
    args = [put(states, P(None, "data")), put(times, P(None, "data"))]
    cond = {"label": put(LABELS["label"], P("data"))}
    program = jax.jit(lambda refiner, *args: refiner(*args)).lower(refiner, *args, cond).compile()
    exchanges = r"(all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(-start)?\("
    assert not re.findall(exchanges, program.as_text())
    sizes = {
        leaf.shard_shape((K, B, 4, 4, 2)) for leaf in jax.tree.leaves(program.output_shardings)
    }
    assert sizes == {(K, B // 8, 4, 4, 2)}
