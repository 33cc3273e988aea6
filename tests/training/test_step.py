import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from drf_jax.errors import UserError
from drf_jax.sharding import fsdp, shard_batch
from drf_jax.training.state import create_state
from drf_jax.training.step import ema_decay_at, jit_step, make_train_step, microbatch

FSDP = [("", fsdp(min_size=1))]


def run_steps(linear, n=3, **kwargs):
    run = linear.setup(**kwargs)
    state = run.state
    for i in range(n):
        batch = shard_batch(linear.batches(i), run.mesh)
        key = jax.random.fold_in(jax.random.key(7), i)
        state, metrics = run.step(state, run.frozen, batch, key)
    return state, metrics


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"rules": FSDP},
        {"draft": 2},
        {"data": 2, "model": 4, "rules": [("kernel", P(None, "model"))]},
    ],
    ids=["data", "fsdp", "draft", "model"],
)
def test_eight_devices_train_like_one(linear, layout):
    one, metrics_one = run_steps(linear, devices=1)
    eight, metrics_eight = run_steps(linear, **layout)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
    jax.tree.map(close, jax.device_get(one), jax.device_get(eight))
    jax.tree.map(close, jax.device_get(metrics_one), jax.device_get(metrics_eight))


def test_state_keeps_its_layout(linear):
    state, _ = run_steps(linear, n=1, rules=FSDP)
    assert state.params["kernel"].addressable_shards[0].data.shape == (8, 2)
    assert state.ema["kernel"].addressable_shards[0].data.shape == (8, 2)


def test_accumulation_equals_the_full_batch(linear):
    full, metrics_full = run_steps(linear, loss=linear.exact_loss)
    parts, metrics_parts = run_steps(linear, loss=linear.exact_loss, accumulate=4)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
    jax.tree.map(close, full, parts)
    jax.tree.map(close, metrics_full, metrics_parts)


def test_microbatches_partition_the_batch_and_have_their_own_keys(linear):
    batch = {"x": jnp.arange(12.0).reshape(6, 2)}
    rows = [microbatch(batch, i, 3)["x"] for i in range(3)]
    np.testing.assert_array_equal(jnp.sort(jnp.concatenate(rows).ravel()), jnp.arange(12.0))
    np.testing.assert_array_equal(rows[1], batch["x"][1::3])

    def uniform(params, frozen, batch, key):
        return params["w"] * jax.random.uniform(key, (2,)), {}

    optimizer = optax.sgd(1.0)
    step = make_train_step(uniform, optimizer, 0.9, accumulate=3)
    key = jax.random.key(0)
    _, metrics = step(create_state({"w": jnp.float32(1.0)}, optimizer), None, batch, key)
    draws = [jax.random.uniform(jax.random.fold_in(key, i), (2,)).mean() for i in range(3)]
    np.testing.assert_allclose(metrics["loss"], np.mean(draws), rtol=1e-6)


def test_accumulate_must_divide_the_batch():
    with pytest.raises(UserError, match="accumulate: 4 does not divide the batch of 6"):
        microbatch({"x": jnp.zeros((6, 2))}, 0, 4)


def test_average_follows_its_formula():
    def loss(params, frozen, batch, key):
        return params["w"] * jnp.ones(2), {}

    optimizer = optax.sgd(1.0)  # the gradient is 1, so w = 0, −1, −2, …
    step = make_train_step(loss, optimizer, ema_decay=0.15)
    state = create_state({"w": jnp.float32(0.0)}, optimizer)
    expected = 0.0
    for t in range(3):
        state, _ = step(state, None, None, jax.random.key(0))
        d = min(0.15, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * -(t + 1)
        assert int(state.step) == t + 1
        np.testing.assert_allclose(state.ema["w"], expected, rtol=1e-6)


def test_average_decay_warms_up_to_its_value():
    np.testing.assert_allclose(ema_decay_at(0.999, jnp.int32(0)), 0.1, rtol=1e-6)
    np.testing.assert_allclose(ema_decay_at(0.999, jnp.int32(80)), 0.9, rtol=1e-6)
    np.testing.assert_allclose(ema_decay_at(0.999, jnp.int32(10**6)), 0.999, rtol=1e-6)


def test_metrics_are_means_and_norms(linear):
    run = linear.setup(devices=1)
    batch = shard_batch(linear.batches(0), run.mesh)
    params = jax.tree.map(jnp.copy, run.state.params)
    key = jax.random.key(3)
    _, metrics = run.step(run.state, run.frozen, batch, key)
    mean = lambda p: linear.noisy_loss(p, run.frozen, batch, jax.random.fold_in(key, 0))[0].mean()
    loss, grads = jax.value_and_grad(mean)(params)
    assert set(metrics) == {"loss", "grad_norm", "mae", "bias"}
    assert {value.shape for value in metrics.values()} == {()}
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["grad_norm"], optax.global_norm(grads), rtol=1e-5)


def test_training_without_data_or_teacher(linear):
    """Data-free objectives draw everything from the key."""
    run = linear.setup()

    def loss(params, frozen, batch, key):
        assert frozen is None
        assert batch is None
        return jnp.mean((jax.random.normal(key, (8, 8)) @ params["kernel"]) ** 2, -1), {}

    step = jit_step(make_train_step(loss, run.optimizer), run.mesh, run.shardings)
    state, metrics = step(run.state, None, shard_batch(None, run.mesh), jax.random.key(0))
    assert int(state.step) == 1
    assert metrics["loss"] > 0
