"""Training real networks on 8 devices gives what one device gives, replicated and fully sharded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.networks.dit import DiT
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.objectives.denoising import Denoising
from drf_jax.process.schedule import CosineVP
from drf_jax.process.time import stratified
from drf_jax.process.weighting import v
from drf_jax.sharding import LAYOUTS, fsdp, make_mesh, shard_batch
from drf_jax.training.optimizer import Optimizer, make_optimizer
from drf_jax.training.state import create_state, init_sharded
from drf_jax.training.step import jit_step, make_train_step

NETWORK = DenoisingNetwork(DiT(1, width=16, depth=1, heads=2, num_classes=3))


def train(mesh, rules, steps=3):
    """Parameters after a few updates, and how the first kernel is laid out."""
    objective = Denoising(NETWORK, CosineVP(), "v", v, stratified, 0.2, {"label": jnp.int32(3)})
    optimizer = make_optimizer(Optimizer(learning_rate=1e-3), steps)

    def init(key):
        x, t, cond = jnp.zeros((1, 4, 4, 1)), jnp.zeros(1), {"label": jnp.zeros(1, jnp.int32)}
        return create_state(NETWORK.init(key, x, t, cond)["params"], optimizer)

    state, shardings = init_sharded(init, mesh, rules, jax.random.key(0))
    step = jit_step(make_train_step(objective, optimizer), mesh, shardings)
    rng = np.random.default_rng(0)
    for i in range(steps):
        batch = {
            "x0": rng.normal(size=(16, 4, 4, 1)).astype(np.float32),
            "cond": {"label": rng.integers(0, 3, 16).astype(np.int32)},
        }
        with jax.set_mesh(mesh):
            state, metrics = step(state, None, shard_batch(batch, mesh), jax.random.key(i))
    specs = {leaf.sharding.spec for leaf in jax.tree.leaves(state.params)}
    return jax.device_get(state.params), jax.device_get(metrics), specs


@pytest.fixture(scope="module")
def alone():
    return train(make_mesh(devices=jax.devices()[:1]), ())


@pytest.mark.parametrize(
    ("axes", "rules", "sharded"),
    [
        ({"data": 8}, (), False),
        ({"data": 2, "draft": 4}, (), False),
        ({"data": 8}, ((".*", fsdp(min_size=64)),), True),
        ({"data": 4, "model": 2}, LAYOUTS["tensor"], True),
        ({"data": 2, "draft": 2, "model": 2}, ((".*", fsdp(min_size=64)),), True),
        ({"data": 2, "draft": 2, "model": 2}, LAYOUTS["tensor"], True),
    ],
    ids=["data", "data x draft", "fsdp", "tensor", "fsdp, mixed", "tensor, mixed"],
)
def test_eight_devices_train_as_one(alone, axes, rules, sharded):
    params, metrics, specs = train(make_mesh(**axes), rules)
    assert any(any(spec) for spec in specs) == sharded
    for name in ("loss", "grad_norm"):
        np.testing.assert_allclose(metrics[name], alone[1][name], rtol=1e-5)
    for ours, theirs in zip(jax.tree.leaves(params), jax.tree.leaves(alone[0]), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
