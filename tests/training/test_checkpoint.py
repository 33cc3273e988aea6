import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.sharding import fsdp, shard_batch
from drf_jax.training.checkpoint import Checkpoints, abstract, load_ema
from drf_jax.training.state import create_state


def trained(linear, **kwargs):
    run = linear.setup(**kwargs)
    batch = shard_batch(linear.batches(0), run.mesh)
    run.state, _ = run.step(run.state, run.frozen, batch, jax.random.key(1))
    return run


def shapes(params):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)


def test_round_trip_is_exact_and_keeps_two(linear, tmp_path):
    run = trained(linear, devices=1)
    with Checkpoints(tmp_path / "ckpt") as checkpoints:
        assert checkpoints.latest() is None
        for step in (1, 2, 3):
            checkpoints.save(step, run.state)
        assert checkpoints.latest() == 3
        restored = checkpoints.restore(abstract(run.state), step=2)
        jax.tree.map(np.testing.assert_array_equal, restored, run.state)
        with pytest.raises(UserError, match=r"no checkpoint of step 1 in .*ckpt; there: 2, 3"):
            checkpoints.restore(abstract(run.state), step=1)


def test_eight_devices_to_one_and_back(linear, tmp_path):
    eight = trained(linear, rules=[("", fsdp(min_size=1))])
    one = linear.setup(devices=1)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, eight.state)
        on_one = checkpoints.restore(abstract(one.state))
        assert on_one.params["kernel"].devices() == {jax.devices()[0]}
        jax.tree.map(np.testing.assert_array_equal, on_one, eight.state)
        checkpoints.save(2, on_one)
        on_eight = checkpoints.restore(abstract(eight.state))
    assert on_eight.ema["kernel"].sharding == eight.state.ema["kernel"].sharding
    jax.tree.map(np.testing.assert_array_equal, on_eight, eight.state)
    batch = shard_batch(linear.batches(1), one.mesh)
    one.step(on_one, one.frozen, batch, jax.random.key(2))


def test_load_ema_reads_only_the_average(linear, tmp_path):
    run = trained(linear)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, run.state)
    assert not np.array_equal(run.state.ema["kernel"], run.state.params["kernel"])
    ema = load_ema(tmp_path, shapes(run.state.params))
    jax.tree.map(np.testing.assert_array_equal, ema, run.state.ema)
    assert ema["kernel"].devices() == {jax.devices()[0]}
    sharded = load_ema(tmp_path, abstract(run.state.params))
    assert sharded["kernel"].sharding == run.state.params["kernel"].sharding
    jax.tree.map(np.testing.assert_array_equal, sharded, run.state.ema)


def test_missing_checkpoint_names_the_directory(linear, tmp_path):
    run = linear.setup(devices=1)
    with (
        Checkpoints(tmp_path / "empty") as checkpoints,
        pytest.raises(UserError, match=r"no checkpoint in .*empty"),
    ):
        checkpoints.restore(abstract(run.state))
    for name in ("empty", "absent"):
        with pytest.raises(UserError, match=rf"no checkpoint in .*{name}"):
            load_ema(tmp_path / name, shapes(run.state.params))
    assert not (tmp_path / "absent").exists()


def test_other_architecture_names_leaf_and_shapes(linear, tmp_path):
    run = trained(linear, devices=1)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, run.state)
        wide = {"kernel": jnp.zeros((8, 32)), "bias": jnp.zeros(16)}
        with pytest.raises(UserError, match=r"params/kernel is \(8, 16\) in .* \(8, 32\)"):
            checkpoints.restore(abstract(create_state(wide, run.optimizer)))
        fewer = {"kernel": jnp.zeros((8, 16))}
        with pytest.raises(UserError, match=r"(ema|params)/bias is \(16,\) in the file and absent"):
            checkpoints.restore(abstract(create_state(fewer, run.optimizer)))
    more = {**run.state.params, "scale": jnp.zeros(3)}
    with pytest.raises(UserError, match=r"ema/scale is absent in the file and \(3,\)"):
        load_ema(tmp_path, shapes(more))


def test_the_list_of_files_is_part_of_the_checkpoint(linear, tmp_path):
    run = trained(linear, devices=1)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, run.state)
    listed = json.loads((tmp_path / "1" / "checksums.json").read_text())
    assert "default/_METADATA" in listed and "default/manifest.ocdbt" in listed
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_a_state_is_saved_as_it_was_although_it_is_donated_at_once(linear, tmp_path):
    run = trained(linear)
    before = jax.device_get(run.state)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, run.state)
        state = run.state
        for i in range(20):
            batch = shard_batch(linear.batches(i), run.mesh)
            state, _ = run.step(state, run.frozen, batch, jax.random.key(i))
        restored = checkpoints.restore(abstract(state), 1)
    jax.tree.map(np.testing.assert_array_equal, restored, before)


def test_orbax_is_quiet(linear, tmp_path, caplog):
    run = trained(linear, devices=1)
    caplog.set_level("INFO")
    caplog.set_level("INFO", logger="absl")
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, run.state)
    load_ema(tmp_path, shapes(run.state.params))
    assert caplog.messages == []
