import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from drf_jax.sharding import fsdp, make_mesh
from drf_jax.training.state import create_state, init_sharded


def test_state_is_a_pytree_with_named_paths(linear):
    state = linear.setup().state
    paths = jax.tree_util.tree_leaves_with_path(state)
    names = {jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths}
    assert {"step", "params/kernel", "ema/bias"} <= names
    assert int(state.step) == 0
    assert int(jax.tree.map(lambda x: x + 1, state).step) == 1


def test_average_starts_at_the_parameters(linear):
    state = linear.setup().state
    assert np.abs(state.params["kernel"]).sum() > 0
    np.testing.assert_array_equal(state.ema["kernel"], state.params["kernel"])


def test_initial_numbers_do_not_depend_on_the_mesh(linear):
    one = linear.setup(devices=1).state
    eight = linear.setup(rules=[("", fsdp(min_size=1))]).state
    assert eight.params["kernel"].sharding.spec == P(None, "data")
    jax.tree.map(np.testing.assert_array_equal, one, eight)


def test_donating_the_state_leaves_the_given_parameters_alive(linear):
    """A student that starts as its teacher must not lose the teacher to donation."""
    run = linear.setup()
    teacher = {**run.frozen, "bias": jnp.zeros(16)}
    teacher = jax.device_put(teacher, run.frozen["kernel"].sharding)
    init = lambda params: create_state(params, run.optimizer)
    state, _ = init_sharded(init, run.mesh, (), teacher)
    batch = jax.device_put(linear.batches(0))
    new, _ = run.step(state, teacher, batch, jax.random.key(0))
    assert state.params["kernel"].is_deleted()
    np.testing.assert_array_equal(teacher["kernel"], np.eye(8, 16))
    assert not np.array_equal(new.params["kernel"], teacher["kernel"])


def test_create_state_on_one_device(linear):
    run = linear.setup(devices=1)
    params = linear.init_params(jax.random.key(1))
    state = create_state(params, run.optimizer)
    run.step(state, run.frozen, linear.batches(0), jax.random.key(0))
    assert not params["kernel"].is_deleted()
    assert make_mesh(devices=jax.devices()[:1]).size == 1
