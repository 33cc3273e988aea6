import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.sharding import fsdp, shard_tree
from drf_jax.training.held_out import HeldOut, held_out_loss

KEY = jax.random.key(5)


def objective(params, frozen, batch, key):
    """Squared error of a noisy linear map, for each example."""
    assert frozen is None
    x = batch["x"] + jax.random.normal(key, batch["x"].shape)
    return jnp.sum((x @ params["kernel"]) ** 2, -1), {}


def test_it_is_the_mean_over_all_examples_with_the_same_noise_every_time(linear):
    run = linear.setup(devices=1)
    loss = held_out_loss(objective, linear.batches, 3, KEY, run.mesh)
    each = [
        objective(run.state.params, None, linear.batches(j), jax.random.fold_in(KEY, j))[0]
        for j in range(3)
    ]
    first = loss(run.state.params)
    assert first == pytest.approx(float(np.mean(each)), rel=1e-6)
    assert loss(run.state.params) == first  # the parameters are still there, and nothing else moved
    assert loss(jax.tree.map(lambda x: 2 * x, run.state.params)) == pytest.approx(4 * first)


@pytest.mark.parametrize("rules", [(), [("", fsdp(min_size=1))]], ids=["replicate", "fsdp"])
def test_it_does_not_depend_on_the_devices(linear, rules):
    one, eight = linear.setup(devices=1), linear.setup()
    alone = held_out_loss(objective, linear.batches, 2, KEY, one.mesh)(one.state.ema)
    params = shard_tree(jax.device_get(one.state.ema), eight.mesh, rules)
    split = held_out_loss(objective, linear.batches, 2, KEY, eight.mesh)(params)
    assert split == pytest.approx(alone, rel=1e-6)


def test_it_is_due_on_its_schedule_and_at_the_end():
    held_out = HeldOut(lambda params: 0.0, every=4)
    assert [step for step in range(1, 11) if held_out.due(step, 10)] == [4, 8, 10]
