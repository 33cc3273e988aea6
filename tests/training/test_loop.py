import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.sharding import fsdp
from drf_jax.training.checkpoint import Checkpoints
from drf_jax.training.loop import every, train
from drf_jax.training.metrics import MetricsLog


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
    return [{name: value for name, value in line.items() if name != "time"} for line in lines]


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
            os.kill(os.getpid(), number)
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
    def interrupts(i):
        if i == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return linear.batches(i)

    with pytest.raises(KeyboardInterrupt):
        run_training(linear, tmp_path, batches=interrupts)
    assert saved(tmp_path) == {2}


@pytest.mark.parametrize("log_every", [1, 100])
def test_loss_that_is_not_finite_is_never_saved(linear, tmp_path, log_every):
    def poisoned(i):
        batch = linear.batches(i)
        return {"x": batch["x"] * np.float32("nan")} if i >= 3 else batch

    message = rf"loss is nan at step 4 .*last good checkpoint: step 2 in {tmp_path}"
    with pytest.raises(UserError, match=message):
        run_training(linear, tmp_path, batches=poisoned, log_every=log_every)
    assert saved(tmp_path) == {2}


def test_first_failure_says_that_there_is_no_checkpoint(linear, tmp_path):
    with pytest.raises(UserError, match=r"at step 1 .*last good checkpoint: none"):
        run_training(linear, tmp_path, batches=lambda i: {"x": np.full((16, 8), np.inf, "f4")})


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
