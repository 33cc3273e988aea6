"""Drafts over devices: the single device's images, with one exchange a round."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from drf_jax import pytree
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.networks.dit import DiT
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.prediction import from_output
from drf_jax.process.schedule import VE, CosineVP
from drf_jax.sampling import driffusion, grid
from drf_jax.sampling.draft import AggressiveDrafter, ConservativeDrafter
from drf_jax.sampling.guidance import Guided
from drf_jax.sampling.loops import COMPILED, PYTHON
from drf_jax.sampling.parallel import (
    DraftParallelRefiner,
    bytes_per_round,
    draft_parallel,
)
from drf_jax.sampling.refine import ParallelRefiner
from drf_jax.sharding import make_mesh

PROCESS = CosineVP()
COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")


@pytest.fixture(autouse=True)
def float64(quick_compile):
    with jax.enable_x64(True), quick_compile():
        yield


def mixture(process=PROCESS):
    means = jax.random.uniform(jax.random.key(0), (5, 3), jnp.float64, -1, 1)
    return GaussianMixture(means, jnp.full(5, 0.3), jnp.full(5, 0.2), process)


def network():
    """A guided network of two classes."""
    backbone = DiT(channels=2, width=8, depth=1, heads=2, num_classes=2, dtype="float64")
    net = DenoisingNetwork(backbone)
    args = (jnp.zeros((1, 4, 4, 2)), jnp.zeros(1), {"label": jnp.zeros(1, jnp.int32)})
    shapes = jax.eval_shape(net.init, jax.random.key(0), *args)["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(0.1 * rng.standard_normal(leaf.shape)), shapes)
    null = {"label": jnp.asarray(2, jnp.int32)}
    return Guided(Denoiser(params, net, PROCESS, "v"), jnp.asarray(2.0), null)


def sampler(denoiser, drafter, drafts, steps=10, loop=COMPILED, **options):
    """``run(slots, x, cond) -> Result`` and its slots."""
    drafter = drafter(denoiser)
    rounds = driffusion.make_rounds(grid.uniform(PROCESS, steps), drafts, drafter.extra_steps)

    def run(slots, x, cond=None):
        return driffusion.sample(*slots, PROCESS, rounds, x, cond, loop=loop, **options)

    return run, (drafter, ParallelRefiner(denoiser))


def noise(b, shape=(3,)):
    return jax.random.normal(jax.random.key(1), (b, *shape), jnp.float64)


@pytest.mark.parametrize("drafter", [ConservativeDrafter, AggressiveDrafter])
@pytest.mark.parametrize(
    ("drafts", "data", "draft", "b"), [(8, 1, 8, 1), (4, 2, 4, 4), (3, 1, 8, 1), (5, 2, 4, 2)]
)
def test_images_are_the_single_device_s(drafter, drafts, data, draft, b):
    run, slots = sampler(mixture(), drafter, drafts)
    mesh, x = make_mesh(data, draft), noise(b)
    alone = jax.jit(run)(slots, x)
    slots = draft_parallel(slots, PROCESS, mesh)
    assert isinstance(slots[1], DraftParallelRefiner)
    result = jax.jit(run)(slots, jax.device_put(x, NamedSharding(mesh, P("data"))))
    np.testing.assert_allclose(result.x, alone.x, atol=1e-10)
    np.testing.assert_array_equal(result.network_evaluations, alone.network_evaluations)


def test_a_guided_network_with_labels():
    run, slots = sampler(network(), ConservativeDrafter, 5)
    mesh, x, cond = make_mesh(2, 4), noise(2, (4, 4, 2)), {"label": jnp.arange(2)}
    alone = jax.jit(run)(slots, x, cond)
    inputs = jax.device_put((x, cond), NamedSharding(mesh, P("data")))
    slots = draft_parallel(slots, PROCESS, mesh)
    result = jax.jit(run)(slots, *inputs)
    np.testing.assert_allclose(result.x, alone.x, atol=1e-10)
    drafter, refiner = (jax.tree.leaves(slot.denoiser) for slot in slots)
    assert all(a is b and a.sharding.mesh == mesh for a, b in zip(drafter, refiner, strict=True))


def test_in_a_python_loop_and_with_refinements_and_a_tolerance():
    options = {"refinements": 3, "tolerance": 0.01}
    run, slots = sampler(mixture(), ConservativeDrafter, 5, loop=PYTHON, **options)
    alone = run(slots, noise(4))
    assert len(set(np.ravel(alone.trace.refinements))) > 1
    on_mesh = run(draft_parallel(slots, PROCESS, make_mesh(2, 4)), noise(4))
    np.testing.assert_allclose(on_mesh.x, alone.x, atol=1e-10)
    np.testing.assert_array_equal(on_mesh.trace.refinements, alone.trace.refinements)


@pytest.mark.parametrize("process", [CosineVP(), VE(80.0)], ids=repr)
def test_predictions_survive_the_exchange_at_every_noise_level(process):
    times = jnp.linspace(process.t_max, 1e-3, 8)[:, None]
    states = noise(8)[:, None] * process.sigma(times)[..., None]
    parallel = DraftParallelRefiner(mixture(process), process, make_mesh(1, 8))
    ours, alone = (
        jax.jit(lambda states, refiner=refiner: refiner(states, times, None))(states)
        for refiner in (parallel, ParallelRefiner(mixture(process)))
    )
    np.testing.assert_allclose(ours.x0, alone.x0, atol=1e-11)
    np.testing.assert_allclose(ours.eps, alone.eps, atol=1e-11)


def compiled(run, slots, x):
    return jax.jit(lambda x: run(slots, x)).lower(x).compile().as_text()


def collectives(text):
    return re.findall(rf" ({'|'.join(COLLECTIVES)})(?:-start)?\(", text)


@pytest.mark.parametrize("drafter", [ConservativeDrafter, AggressiveDrafter])
@pytest.mark.parametrize(("drafts", "rounds"), [(8, 3), (6, 2)])
def test_a_round_exchanges_one_array(drafter, drafts, rounds):
    """The rounds are one loop, so its body's collectives are a round's."""
    steps = rounds * (drafts + drafter.extra_steps)
    run, slots = sampler(mixture(), drafter, drafts, steps)
    mesh = make_mesh(1, 8)
    x = jax.device_put(noise(1), NamedSharding(mesh, P()))
    text = compiled(run, draft_parallel(slots, PROCESS, mesh), x)
    assert collectives(text) == ["all-gather"]
    ((shape, axis),) = re.findall(r"= f64\[([\d,]+)\]\S* all-gather\(.*dimensions={(\d)}", text)
    received = np.prod([int(n) for n in shape.split(",")]) * 7 / 8 * 8
    assert axis == "0" and received == bytes_per_round(mesh, drafts, (3,), 8)


def test_data_and_draft_exchange_drafts_only():
    run, slots = sampler(mixture(), AggressiveDrafter, 4)
    mesh = make_mesh(2, 4)
    x = jax.device_put(noise(4), NamedSharding(mesh, P("data")))
    text = compiled(run, draft_parallel(slots, PROCESS, mesh), x)
    assert collectives(text) == ["all-gather"]


def test_one_device_exchanges_nothing():
    run, slots = sampler(mixture(), AggressiveDrafter, 4)
    mesh = make_mesh(1, 1, devices=jax.devices()[:1])
    text = compiled(run, draft_parallel(slots, PROCESS, mesh), noise(1))
    assert collectives(text) == []
    assert bytes_per_round(mesh, 4, (3,)) == 0


def test_a_batch_that_does_not_split_is_refused():
    run, slots = sampler(mixture(), AggressiveDrafter, 4)
    with pytest.raises(UserError, match="batch of 3: the mesh's data = 2"):
        run(draft_parallel(slots, PROCESS, make_mesh(2, 4)), noise(3))


@custom_partitioning
def kernel(x):
    """Stands for a hand-written kernel, such as cuDNN's attention: the compiler cannot split it."""
    return jnp.tanh(x)


def refuse(*args):
    raise AssertionError("the kernel is to be split")


kernel.def_partition(
    partition=refuse, infer_sharding_from_operands=refuse, sharding_rule="b d -> b d"
)


@pytree.register
@dataclasses.dataclass(frozen=True)
class WithKernel:
    scale: jax.Array

    def __call__(self, x, t, cond):
        return from_output("x0", kernel(self.scale * x), x, PROCESS.alpha(t), PROCESS.sigma(t))


def test_a_kernel_that_cannot_be_split_is_called_on_each_device():
    denoiser, mesh = WithKernel(jnp.asarray(0.5)), make_mesh(2, 4)
    states = jax.random.normal(jax.random.key(0), (5, 2, 3), jnp.float64)
    times = jnp.broadcast_to(jnp.linspace(0.8, 0.4, 5)[:, None], (5, 2))
    run = jax.jit(lambda denoiser, *args: DraftParallelRefiner(denoiser, PROCESS, mesh)(*args))
    spread = run(denoiser, states, times, None)
    np.testing.assert_allclose(spread.x0, jnp.tanh(0.5 * states), atol=1e-10)
