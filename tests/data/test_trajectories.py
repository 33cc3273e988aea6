import fcntl
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.data import trajectories
from drf_jax.data.trajectories import (
    SECONDS,
    Trajectories,
    made_with,
    make_trajectories,
    trajectory_batches,
)
from drf_jax.errors import UserError
from drf_jax.noise import initial_noise, sample_keys
from drf_jax.turns import VARIABLE

ROOT = jax.random.key(4)
COUNT, SHAPE = 40, (3, 2, 1)
FACTS = {"teacher": "abc", "steps": 8}


def cond(index):
    return {"label": np.asarray(index, np.int32) % 10}


def walk(noise, cond):
    """Three nodes: the noise, and two states that depend on noise and label."""
    label = jnp.asarray(cond["label"], noise.dtype)[:, None, None]
    return jnp.stack([noise, jnp.sin(noise) + label, noise**2])


def make(path, walk=walk, facts=FACTS, count=COUNT, batch_size=1, **options):
    make_trajectories(path, walk, ROOT, count, SHAPE, cond, facts, batch_size, **options)


def dies_at(batch):
    calls = iter(range(batch + 1))

    def mortal(noise, cond):
        if next(calls) == batch:
            raise RuntimeError("power cut")
        return walk(noise, cond)

    return mortal


def test_trajectories_start_at_the_noise_of_their_index(tmp_path):
    make(tmp_path / "t.npy", batch_size=16)  # does not divide 40
    states = np.load(tmp_path / "t.npy")
    noise = initial_noise(sample_keys(ROOT, np.arange(COUNT)), SHAPE[1:])
    expected = jnp.moveaxis(walk(noise, cond(np.arange(COUNT))), 0, 1)
    np.testing.assert_allclose(states, expected, rtol=1e-6, atol=1e-6)
    rows = Trajectories(tmp_path / "t.npy", cond).gather(np.array([23, 5]))
    np.testing.assert_array_equal(rows["states"], states[[23, 5]])
    np.testing.assert_array_equal(rows["cond"]["label"], [3, 5])


def test_trajectories_that_do_not_fit_stay_in_their_file(tmp_path, monkeypatch):
    make(tmp_path / "t.npy")
    held = Trajectories(tmp_path / "t.npy", cond)
    monkeypatch.setattr(trajectories, "MEMORY_SHARE", 0.0)
    mapped = Trajectories(tmp_path / "t.npy", cond)
    assert isinstance(mapped.states, np.memmap) and not isinstance(held.states, np.memmap)
    index = np.array([7, 0])
    np.testing.assert_array_equal(held.gather(index)["states"], mapped.gather(index)["states"])


@pytest.mark.parametrize("batch", [5, 20, 39])
def test_killed_and_resumed_is_the_same_file(tmp_path, batch):
    make(tmp_path / "whole.npy")
    with pytest.raises(RuntimeError, match="power cut"):
        make(tmp_path / "cut.npy", dies_at(batch))
    seen = []
    make(tmp_path / "cut.npy", lambda n, c: seen.append(int(c["label"][0])) or walk(n, c))
    assert seen[0] == batch // 16 * 16 % 10  # the last note was written after so many
    cut, whole = tmp_path / "cut.npy", tmp_path / "whole.npy"
    assert cut.read_bytes() == whole.read_bytes()
    facts = [made_with(path) for path in (cut, whole)]
    assert all(made.pop(SECONDS) > 0 for made in facts) and facts[0] == facts[1]


def test_the_seconds_of_a_trajectory_leave_the_first_batch_out(tmp_path, monkeypatch):
    clock, mine = [0.0], []

    def slow(noise, cond):
        mine.append(clock[0])
        clock[0] += 100.0 if len(mine) == 1 else 4.0
        return walk(noise, cond)

    monkeypatch.setattr(trajectories.time, "perf_counter", lambda: clock[0])
    make(tmp_path / "several.npy", slow, batch_size=16)
    assert made_with(tmp_path / "several.npy")[SECONDS] == 4 * 3 / COUNT
    mine.clear()
    make(tmp_path / "one.npy", slow, batch_size=COUNT)
    assert made_with(tmp_path / "one.npy")[SECONDS] == 100 / COUNT


def test_a_last_batch_that_compiles_again_does_not_count(tmp_path):
    path = tmp_path / "t.npy"
    with pytest.raises(RuntimeError, match="power cut"):
        make(path, dies_at(33))
    told = made_with(path)
    path.with_suffix(".json").write_text(json.dumps(told | {"done": COUNT - 1}))
    make(path)
    assert made_with(path) == told | {"done": COUNT}


def test_they_are_made_in_turn_with_other_processes_but_for_the_first_batch(tmp_path, monkeypatch):
    turns, held = tmp_path / "turns", []
    monkeypatch.setenv(VARIABLE, str(turns))

    def noting(noise, cond):
        with turns.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(True)
            else:
                held.append(False)
        return walk(noise, cond)

    make(tmp_path / "t.npy", noting, batch_size=16)
    assert held == [False, True, True]


def test_finished_cache_is_not_made_again(tmp_path):
    make(tmp_path / "t.npy")
    make(tmp_path / "t.npy", lambda noise, cond: pytest.fail("nothing is left to do"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"facts": {**FACTS, "teacher": "xyz"}}, "teacher = 'abc', not 'xyz'"),
        ({"facts": {**FACTS, "steps": 9}}, "steps = 8, not 9"),
        ({"count": 39}, "count = 40, not 39"),
        ({"dtype": "float16"}, "dtype = 'float32', not 'float16'"),
    ],
)
def test_other_origin_is_refused_with_key_and_both_values(tmp_path, change, message):
    path = tmp_path / "t.npy"
    make(path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"{path} have {message}; delete the file"):
        make(path, **change)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["t.npy", "t.json"])
def test_truncated_file_is_refused_by_name(tmp_path, name):
    make(tmp_path / "t.npy")
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    damaged = {"t.npy": r"t\.npy cannot", "t.json": r"t\.npy: t\.json cannot"}[name]
    with pytest.raises(UserError, match=f"{damaged} be read .*delete the file"):
        make(tmp_path / "t.npy")
    assert (tmp_path / name).read_bytes() == whole[: len(whole) // 2]


def test_deleting_the_file_is_enough_to_start_anew(tmp_path):
    path = tmp_path / "t.npy"
    make(path)
    path.unlink()
    assert made_with(path)["teacher"] == "abc"
    with pytest.raises(RuntimeError, match="power cut"):
        make(path, dies_at(3), {**FACTS, "teacher": "xyz"})
    # What the deleted file had said must not vouch for the new one.
    assert made_with(path) == {}
    make(path, facts={**FACTS, "teacher": "xyz"})
    assert json.loads(path.with_suffix(".json").read_text())["done"] == COUNT
    assert np.abs(np.load(path)).max(axis=(1, 2, 3)).min() > 0


def test_half_precision_is_stored_and_given_back_as_float32(tmp_path):
    make(tmp_path / "t.npy", dtype="float16")
    assert np.load(tmp_path / "t.npy").dtype == np.float16
    source = Trajectories(tmp_path / "t.npy", lambda i: {})
    assert source.gather(np.arange(2))["states"].dtype == np.float32
    assert len(source) == COUNT


def test_batches_are_a_function_of_the_step_and_miss_nothing(tmp_path):
    make(tmp_path / "t.npy")
    source = Trajectories(tmp_path / "t.npy", lambda i: {"label": i})
    batches = trajectory_batches(source, 8, seed=1)
    labels = np.concatenate([batches(i)["cond"]["label"] for i in range(10)])
    assert sorted(labels[:40]) == sorted(labels[40:]) == list(range(40))
    assert list(labels[:40]) != list(labels[40:])
    batch = trajectory_batches(source, 8, seed=1)(7)
    assert batch["states"].shape == (8, *SHAPE)
    np.testing.assert_array_equal(batch["cond"]["label"], labels[56:64])
    np.testing.assert_array_equal(batch["states"], source.states[labels[56:64]])
    assert list(trajectory_batches(source, 8, seed=2)(7)["cond"]["label"]) != list(labels[56:64])
