"""What XLA makes of the training step of a real network on 8 devices: collectives, donation, compilations, memory."""

import dataclasses
import functools
import re
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.networks.dit import DiT
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.unet import UNet
from drf_jax.objectives.denoising import Denoising
from drf_jax.process.schedule import CosineVP
from drf_jax.process.time import stratified
from drf_jax.process.weighting import v
from drf_jax.sharding import LAYOUTS, fsdp, make_mesh, shard_batch
from drf_jax.training.optimizer import Optimizer, make_optimizer
from drf_jax.training.state import create_state, init_sharded
from drf_jax.training.step import jit_step, make_train_step

KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast"
SIDE = 8
FSDP = (LAYOUTS["fsdp"][0], ("", fsdp(min_size=64)))


def made(mesh, rules, backbone):
    """State, compiled step and a batch of 16 images."""
    network = DenoisingNetwork(backbone)
    objective = Denoising(network, CosineVP(), "v", v, stratified, 0.2, {"label": jnp.int32(3)})
    optimizer = make_optimizer(Optimizer(learning_rate=1e-2), 5)

    def init(key):
        x, cond = jnp.zeros((1, SIDE, SIDE, 1)), {"label": jnp.zeros(1, jnp.int32)}
        return create_state(network.init(key, x, jnp.zeros(1), cond)["params"], optimizer)

    state, shardings = init_sharded(init, mesh, rules, jax.random.key(0))
    rng = np.random.default_rng(0)
    batch = {
        "x0": rng.normal(size=(16, SIDE, SIDE, 1)).astype(np.float32),
        "cond": {"label": rng.integers(0, 3, 16).astype(np.int32)},
    }
    step = jit_step(make_train_step(objective, optimizer), mesh, shardings)
    return state, step, shard_batch(batch, mesh)


def dit(**options):
    return DiT(1, num_classes=3, **{"width": 32, "depth": 1, "heads": 4, **options})


@pytest.fixture(autouse=True)
def quick(quick_compile):
    with quick_compile():
        yield


@functools.cache
def compiled(rules, devices=8, **axes):
    mesh = make_mesh(**axes, devices=jax.devices()[:devices])
    state, step, batch = made(mesh, rules, dit())
    with jax.set_mesh(mesh):
        return state, step.lower(state, None, batch, jax.random.key(0)).compile()


def collectives(program):
    return Counter(re.findall(rf" ({KINDS})(?:-start)?\(", program.as_text()))


@pytest.mark.parametrize(
    ("axes", "rules", "expected"),
    [
        ({}, (), {"all-reduce"}),
        ({"data": 2, "draft": 4}, (), {"all-reduce"}),
        ({"data": 2, "model": 4}, LAYOUTS["tensor"], {"all-reduce"}),
        ({}, FSDP, {"all-reduce", "all-gather"}),
    ],
    ids=["data", "data x draft", "tensor", "fsdp"],
)
def test_collectives_are_the_expected_ones(axes, rules, expected):
    """XLA for CPU writes a reduce-scatter as an all-reduce and a slice."""
    _, program = compiled(rules, **axes)
    found = collectives(program)
    assert set(found) - {"reduce-scatter"} == expected, found


def test_one_device_needs_no_collective():
    _, program = compiled((), devices=1)
    assert not collectives(program)


def test_data_parallel_sums_the_gradient_once():
    """As many numbers are reduced as there are parameters, but for a few scalars."""
    state, program = compiled(())
    reduced = 0
    for line in program.as_text().splitlines():
        if found := re.search(r"= (.*?) all-reduce(?:-start)?\(", line):
            shapes = re.findall(r"\w\d+\[([\d,]*)\]", found[1])
            reduced += sum(int(np.prod([int(n) for n in s.split(",") if n])) for s in shapes)
    params = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert params <= reduced <= params + 64


def test_fsdp_holds_an_eighth_of_the_state_on_each_device():
    whole, sharded = (
        compiled(rules)[1].memory_analysis().argument_size_in_bytes for rules in ((), FSDP)
    )
    assert sharded < 0.15 * whole


@pytest.mark.parametrize("rules", [(), FSDP], ids=["data", "fsdp"])
def test_state_is_donated_and_the_second_step_is_the_first_ones_program(rules):
    mesh = make_mesh()
    state, step, batch = made(mesh, rules, dit())
    with jax.set_mesh(mesh):
        for i in range(3):
            old = state
            state, _ = step(state, None, batch, jax.random.key(i))
            assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old))
    assert step._cache_size() == 1


def gradient(backbone, remat):
    """The parameters after one update on one device, as a function of the state, and that state."""
    mesh = make_mesh(devices=jax.devices()[:1])
    state, step, batch = made(mesh, (), dataclasses.replace(backbone, remat=remat))
    return lambda state: step(state, None, batch, jax.random.key(0))[0].params, state


@pytest.mark.parametrize(
    "backbone",
    [dit(), UNet(1, num_classes=3, width=8, multipliers=(1,), attention=(False,), heads=2)],
    ids=["dit", "unet"],
)
def test_rematerialisation_is_in_the_program_and_has_the_same_parameters(backbone):
    programs = []
    for remat in (False, True):
        update, state = gradient(backbone, remat)
        programs.append((jax.tree.structure(state), "remat" in str(jax.make_jaxpr(update)(state))))
    assert programs[0][0] == programs[1][0]
    assert [found for _, found in programs] == [False, True]


def test_rematerialisation_does_not_change_the_update():
    plain, remat = (
        jax.device_get(f(state)) for f, state in (gradient(dit(), r) for r in (False, True))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), plain, remat)
