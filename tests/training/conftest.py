"""A linear student of a linear teacher: the smallest problem that has everything a real one has."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.sharding import make_mesh, replicate, shard_tree
from drf_jax.training.optimizer import Optimizer, make_optimizer
from drf_jax.training.state import create_state, init_sharded
from drf_jax.training.step import jit_step, make_train_step

STEPS = 6


def noisy_loss(params, frozen, batch, key):
    """Per-example squared error [b]; depends on the key."""
    x = batch["x"] + 0.1 * jax.random.normal(key, batch["x"].shape)
    error = x @ params["kernel"] + params["bias"] - batch["x"] @ frozen["kernel"]
    return jnp.mean(error**2, -1), {"mae": jnp.abs(error).mean(-1), "bias": params["bias"].sum()}


def exact_loss(params, frozen, batch, key):
    """The same without noise."""
    del key
    error = batch["x"] @ (params["kernel"] - frozen["kernel"]) + params["bias"]
    return jnp.mean(error**2, -1), {}


def batches(i):
    return {"x": np.random.default_rng(i).normal(size=(16, 8)).astype(np.float32)}


def init_params(key):
    return {"kernel": jax.random.normal(key, (8, 16)), "bias": jnp.zeros(16)}


def setup(devices=8, rules=(("", replicate),), loss=noisy_loss, accumulate=1, **mesh_sizes):
    """Mesh, optimizer, sharded state, frozen teacher and compiled step."""
    mesh = make_mesh(**mesh_sizes, devices=jax.devices()[:devices])
    optimizer = make_optimizer(Optimizer(learning_rate=0.05, warmup=2, weight_decay=0.1), STEPS)
    state, shardings = init_sharded(
        lambda key: create_state(init_params(key), optimizer), mesh, rules, jax.random.key(0)
    )
    frozen = shard_tree({"kernel": jnp.eye(8, 16)}, mesh)
    step = jit_step(make_train_step(loss, optimizer, 0.9, accumulate), mesh, shardings)
    return SimpleNamespace(
        mesh=mesh, optimizer=optimizer, state=state, shardings=shardings, frozen=frozen, step=step
    )


@pytest.fixture
def linear():
    return SimpleNamespace(
        setup=setup,
        batches=batches,
        init_params=init_params,
        noisy_loss=noisy_loss,
        exact_loss=exact_loss,
        steps=STEPS,
    )
