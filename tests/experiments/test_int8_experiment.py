"""A method in int8 is the method with its networks quantised, wherever they are in it; skipped without qwix."""

import jax
import jax.numpy as jnp
import pytest

from drf_jax.data.shapes import Shapes
from drf_jax.networks.dit import DiT
from drf_jax.sampling.loops import COMPILED

pytestmark = pytest.mark.slow

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
