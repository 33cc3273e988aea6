"""A method in int8 is the method with its networks quantised, wherever they are in it; skipped without qwix."""

import jax
import jax.numpy as jnp
import pytest

from drf_jax.data.conditioning import null_cond
from drf_jax.data.shapes import Shapes
from drf_jax.errors import UserError
from drf_jax.networks.ahead import AheadNetwork
from drf_jax.networks.dit import DiT
from drf_jax.networks.sizes import random_params
from drf_jax.process.schedule import CosineVP
from drf_jax.sampling import grid
from drf_jax.sampling.ahead import AheadDrafter, AheadRefiner
from drf_jax.sampling.loops import COMPILED
from drf_jax.sampling.method import Method, driffusion_method

pytestmark = pytest.mark.slow

PROCESS = CosineVP()
TINY = DiT(channels=4, patch=2, width=8, depth=1, heads=2, num_classes=3)


@pytest.mark.parametrize("name", ["ddim", "aggressive"])
def test_a_guided_method_in_int8(experiment, quick_compile, name):
    pytest.importorskip("qwix")
    int8, real_size = experiment("int8"), experiment("real_size")
    options = {"pixels": (32,), "guidance": (2.0,), "steps": 4, "drafts": (2,), "dtype": "float32"}
    plan = real_size.Plan(networks={"tiny": TINY}, methods=(name,), **options)
    (subject,) = real_size.subjects(plan)
    (make,) = subject.makers.values()
    method = make(COMPILED)
    with quick_compile():
        made = int8.in_int8(method, Shapes((4, 4, 4), 3), activations=True)
        inputs = subject.inputs(2)
        a, b = method.sampler(*inputs), made.sampler(*inputs)
    kinds = {leaf.dtype for leaf in jax.tree.leaves(made.sampler)}
    assert jnp.dtype("int8") in kinds and made.name == method.name
    assert 0 < jnp.abs(a - b).max() < 0.2 * jnp.abs(a).max()


def test_a_student_that_looks_ahead_in_int8(experiment, quick_compile):
    pytest.importorskip("qwix")
    int8, network = experiment("int8"), AheadNetwork(TINY, 2, None)
    states, times, cond = jnp.zeros((2, 1, 4, 4, 4)), jnp.zeros((2, 1)), null_cond(TINY, 1)
    params = random_params(network, states, times, cond)
    refiner = AheadRefiner(params, network, PROCESS, "v")
    slots = AheadDrafter(refiner, 2, "noise"), refiner
    args = PROCESS, grid.uniform(PROCESS, 4), 2, "noise", COMPILED, "learned-aggressive"
    method = driffusion_method("learned-aggressive-3", *slots, *args)
    with quick_compile():
        made = int8.in_int8(method, Shapes((4, 4, 4), 3), activations=True)
        noise = jax.random.normal(jax.random.key(0), (2, 4, 4, 4))
        inputs = noise, jax.random.split(jax.random.key(1), 2), null_cond(TINY, 2)
        a, b = method.sampler(*inputs), made.sampler(*inputs)
    kinds = {leaf.dtype for leaf in jax.tree.leaves(made.sampler)}
    assert jnp.dtype("int8") in kinds
    assert 0 < jnp.abs(a - b).max() < 0.2 * jnp.abs(a).max()


def test_a_method_without_a_known_network_is_no_row(experiment):
    int8 = experiment("int8")
    method = Method("noise", jax.tree_util.Partial(lambda noise, keys, cond: noise), 0, 0)
    with pytest.raises(UserError, match="noise: no network that can be kept in int8"):
        int8.in_int8(method, Shapes((4, 4, 4), 3), activations=True)
