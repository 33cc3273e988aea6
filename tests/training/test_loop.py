import itertools
import json
import re
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.flops import operations
from drf_jax.sharding import fsdp, shard_batch
from drf_jax.training import utilisation
from drf_jax.training.checkpoint import Checkpoints, abstract
from drf_jax.training.loop import every, train
from drf_jax.training.metrics import MetricsLog, is_timing
from drf_jax.turns import VARIABLE, Turn


def run_training(linear, directory, steps=None, run=None, batches=None, step_for=None, **kwargs):
    run = run or linear.setup()
    with Checkpoints(directory) as checkpoints, MetricsLog(directory / "m.jsonl") as metrics:
        return train(
            step_for or (lambda i: run.step),
            run.state,
            run.frozen,
            batches or linear.batches,
            steps=steps or linear.steps,
            root_key=jax.random.key(11),
            mesh=run.mesh,
            checkpoints=checkpoints,
            metrics=metrics,
            **{"log_every": 1, "checkpoint_every": 2, **kwargs},
        )


def curve(directory):
    lines = [json.loads(line) for line in (directory / "m.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line if not is_timing(name)} for line in lines]


def saved(directory):
    return {int(p.name) for p in directory.iterdir() if p.name.isdigit()}


@pytest.mark.parametrize("rules", [(), [("", fsdp(min_size=1))]], ids=["data", "fsdp"])
def test_killed_and_resumed_run_is_the_uninterrupted_one(linear, tmp_path, rules):
    whole = run_training(linear, tmp_path / "whole", run=linear.setup(rules=rules))

    def dies(i):
        if i == 5:
            raise RuntimeError("power cut")
        return linear.batches(i)

    with pytest.raises(RuntimeError, match="power cut"):
        run_training(linear, tmp_path / "cut", batches=dies, run=linear.setup(rules=rules))
    assert saved(tmp_path / "cut") == {2, 4}
    assert len(curve(tmp_path / "cut")) == 5  # one line more than the newest checkpoint

    seen = []
    resumed = run_training(
        linear,
        tmp_path / "cut",
        batches=lambda i: seen.append(i) or linear.batches(i),
        run=linear.setup(rules=rules),
    )
    assert seen == [4, 5]
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")
    assert int(whole.step) == linear.steps


def test_finished_run_does_nothing_more(linear, tmp_path):
    first = run_training(linear, tmp_path)
    again = run_training(linear, tmp_path, batches=lambda i: pytest.fail("no batch is needed"))
    jax.tree.map(np.testing.assert_array_equal, first, again)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_finishes_the_step_saves_and_exits(linear, tmp_path, capsys, number, code):
    whole = run_training(linear, tmp_path / "whole", log_every=2)
    handler = signal.getsignal(number)

    def interrupts(i):
        if i == 2:
            signal.raise_signal(number)
        return linear.batches(i)

    with pytest.raises(SystemExit) as stopped:
        run_training(linear, tmp_path / "cut", batches=interrupts, log_every=2)
    assert stopped.value.code == code
    assert max(saved(tmp_path / "cut")) == 3
    assert f"{signal.Signals(number).name} after step 3" in capsys.readouterr().err
    assert signal.getsignal(number) is handler
    resumed = run_training(linear, tmp_path / "cut", log_every=2)
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")


def test_second_signal_acts_at_once(linear, tmp_path):
    usual = signal.default_int_handler  # a process in the background of a script ignores SIGINT

    def interrupts(i):
        if i == 2:
            signal.raise_signal(signal.SIGINT)
            while signal.getsignal(signal.SIGINT) is not usual:  # two at once may be taken for one
                time.sleep(0.001)
            signal.raise_signal(signal.SIGINT)
            time.sleep(60)
        return linear.batches(i)

    before = signal.signal(signal.SIGINT, usual)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_training(linear, tmp_path, batches=interrupts)
    finally:
        signal.signal(signal.SIGINT, before)
    assert saved(tmp_path) == {2}


def poison(linear, *bad):
    """Batches that are NaN at the updates ``bad``."""

    def batches(i):
        batch = linear.batches(i)
        return {"x": batch["x"] * np.float32("nan")} if i in bad else batch

    return batches


def test_a_batch_with_a_loss_that_is_not_finite_is_skipped_and_counted(linear, tmp_path, capsys):
    kept = []
    keep = lambda step, state: kept.append(jax.device_get(state))
    end = run_training(linear, tmp_path, batches=poison(linear, 2, 3), hooks=[keep])
    for before, after in ((1, 2), (2, 3)):
        jax.tree.map(np.testing.assert_array_equal, kept[before], kept[after])
    assert not np.array_equal(kept[3].params["kernel"], kept[4].params["kernel"])
    assert int(end.step) == linear.steps - 2
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(end))
    assert [line["skipped"] for line in curve(tmp_path)] == [0, 0, 1, 2, 2, 2]
    assert [line["loss"] is None for line in curve(tmp_path)] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert "loss is nan at step 3: this batch is skipped" in capsys.readouterr().err


def test_skipped_batches_are_seen_at_the_next_log_step_and_counted_over_a_resume(linear, tmp_path):
    options = {"batches": poison(linear, 0, 4), "log_every": 3}
    run_training(linear, tmp_path, steps=4, **options)
    run_training(linear, tmp_path, **options)
    assert [line["skipped"] for line in curve(tmp_path)] == [1, 1, 2]


@pytest.mark.parametrize("log_every", [1, 100])
def test_too_many_skipped_in_a_row_stop_the_run_with_the_good_state_saved(
    linear, tmp_path, log_every
):
    options = {"log_every": log_every, "checkpoint_every": 2, "max_skipped": 3}
    scattered = poison(linear, 0, 1, 3, 5)
    run_training(linear, tmp_path / "scattered", batches=scattered, **options)
    message = "loss is nan at step 5, the last of 3 steps in a row that were skipped"
    with pytest.raises(UserError, match=message):
        run_training(linear, tmp_path / "run", batches=poison(linear, 2, 3, 4, 5), **options)
    assert saved(tmp_path / "run") == {2, 4}
    with Checkpoints(tmp_path / "run") as checkpoints:
        two, four = (checkpoints.restore(abstract(linear.setup().state), s) for s in (2, 4))
    jax.tree.map(np.testing.assert_array_equal, two, four)


def test_a_loss_that_jumps_is_named(linear, tmp_path, capsys):
    jumps = lambda i: {"x": linear.batches(i)["x"] * np.float32(30 if i == 12 else 1)}
    run_training(linear, tmp_path, steps=15, batches=jumps, log_every=5)
    assert re.findall(r"loss spike: \S+ at step (\d+)", capsys.readouterr().err) == ["13"]


def test_seconds_and_rates_go_on_over_a_resume(linear, tmp_path):
    slow = lambda i: time.sleep(0.02) or linear.batches(i)
    run_training(linear, tmp_path, steps=4, batches=slow)
    run_training(linear, tmp_path, batches=slow)
    lines = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert len(lines) == linear.steps
    for before, after in itertools.pairwise(lines):
        spent = after["data_seconds"] + after["compute_seconds"]
        assert spent >= 0.02
        assert after["seconds"] == pytest.approx(before["seconds"] + spent)
        assert after["life"] >= before["life"] + spent
        assert after["goodput"] == pytest.approx(after["seconds"] / after["life"])
    compiled = [line["compile_seconds"] > 0 for line in lines]
    assert compiled == [True, False, False, False, True, False]
    for line, first in zip(lines, compiled, strict=True):
        assert ("step_ms" in line) != first
        if not first:
            assert line["images_per_second"] == pytest.approx(16e3 / line["step_ms"])
            assert 8 * line["images_per_second_per_device"] == line["images_per_second"]
    assert "mfu" not in lines[-1]  # nobody knows this CPU's peak


def test_utilisation_is_the_operations_over_those_that_fit_in_the_time(
    linear, tmp_path, monkeypatch
):
    peak = 1e9
    monkeypatch.setitem(utilisation.PEAK, jax.devices()[0].device_kind, peak)
    run = linear.setup()
    batch = shard_batch(linear.batches(0), run.mesh)
    flops = operations(run.step, run.state, run.frozen, batch, jax.random.key(0))
    assert flops == 3 * 2 * 16 * 8 * 16  # the teacher's, the student's, and its gradient
    run_training(linear, tmp_path, run=run)
    line = json.loads((tmp_path / "m.jsonl").read_text().splitlines()[-1])
    seconds = line["step_ms"] / 1e3
    assert line["mfu"] == pytest.approx(flops / seconds / (8 * peak), rel=1e-6)


def test_profile_leaves_a_trace(linear, tmp_path):
    run_training(linear, tmp_path, profile=2)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_objective_can_change_on_the_way(linear, tmp_path):
    first, second = linear.setup(loss=linear.exact_loss), linear.setup(loss=linear.noisy_loss)
    step_for = lambda i: first.step if i < 3 else second.step
    run_training(linear, tmp_path, run=first, step_for=step_for)
    assert ["mae" in line for line in curve(tmp_path)] == [False] * 3 + [True] * 3


def test_hooks_run_on_schedule_and_lines_are_logged(linear, tmp_path, capsys):
    seen = []
    hook = every(2, lambda step, state: seen.append((step, int(state.step))))
    run_training(linear, tmp_path, steps=5, hooks=[hook], log_every=2, label="student")
    assert seen == [(2, 2), (4, 4)]
    assert [line["step"] for line in curve(tmp_path)] == [2, 4, 5]
    assert "student: step 4/5 loss" in capsys.readouterr().err


def test_teacher_survives_training(linear, tmp_path):
    run = linear.setup()
    run_training(linear, tmp_path, run=run)
    assert run.state.params["kernel"].is_deleted()
    np.testing.assert_array_equal(run.frozen["kernel"], jnp.eye(8, 16))


def test_whoever_waits_for_a_turn_has_compiled_everything_and_run_nothing(
    linear, tmp_path, monkeypatch
):
    run, events = linear.setup(), []

    class Recorded:
        def __init__(self, name):
            self.name, self.step = name, jax.jit(run.step.__wrapped__, donate_argnums=0)

        def lower(self, *args):
            events.append(f"compile {self.name}")
            return self.step.lower(*args)

        def __call__(self, *args):
            events.append(self.name)
            return self.step(*args)

    first, second = Recorded("first"), Recorded("second")
    take = Turn.take
    monkeypatch.setattr(Turn, "take", lambda turn: (events.append("turn"), take(turn)))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "turns"))
    ends = run_training(
        linear, tmp_path / "a", run=run, step_for=lambda i: first if i < 3 else second, steps=4
    )
    kept = [event for event in events if event != "turn"]
    assert kept[:3] == ["compile first", "compile second", "first"]
    assert kept[3:] == ["first", "first", "compile second", "second"]
    assert events.index("turn") == 2
    alone = run_training(linear, tmp_path / "b", steps=4)
    jax.tree.map(np.testing.assert_array_equal, ends.params, alone.params)
