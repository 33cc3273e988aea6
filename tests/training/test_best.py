"""The best checkpoints outlive newer ones, whatever happens to the run."""

import json
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.training.best import NAME, ranked, read_scores
from drf_jax.training.checkpoint import Checkpoints, abstract, load_ema
from drf_jax.training.held_out import HeldOut
from drf_jax.training.loop import train
from drf_jax.training.metrics import MetricsLog, is_timing

SCORES = {1: 0.5, 2: 0.2, 3: 0.3, 4: 0.6, 5: 0.7}


def saved(directory):
    return {int(p.name) for p in directory.iterdir() if p.name.isdigit()}


def shapes(params):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)


def state_of(run, step):
    return jax.tree.map(lambda x: x * step, run.state)


@pytest.fixture
def run(linear, tmp_path):
    """Checkpoints 1 to 5, of which the newest and the two best are kept; state s is the first one times s."""
    run = linear.setup(devices=1)
    with Checkpoints(tmp_path, keep=1, keep_best=2) as checkpoints:
        for step, score in SCORES.items():
            checkpoints.save(step, state_of(run, step), score)
    return run


def test_the_smallest_is_the_best_and_of_equals_the_newer():
    assert ranked({1: 0.5, 2: 0.1, 3: 0.5, 4: 0.9}) == [2, 3, 1, 4]


def test_the_newest_and_the_best_stay(run, tmp_path):
    assert saved(tmp_path) == {2, 3, 5}
    assert read_scores(tmp_path, (1, 2, 3, 5)) == {2: 0.2, 3: 0.3, 5: 0.7}
    assert NAME in json.loads((tmp_path / "2" / "checksums.json").read_text())


def test_a_process_for_every_checkpoint_keeps_the_same(linear, tmp_path):
    run = linear.setup(devices=1)
    for step, score in SCORES.items():
        with Checkpoints(tmp_path, keep=1, keep_best=2) as checkpoints:
            checkpoints.save(step, state_of(run, step), score)
    with Checkpoints(tmp_path, keep=1, keep_best=2) as checkpoints:
        assert (checkpoints.latest(), checkpoints.best()) == (5, 2)
    assert saved(tmp_path) == {2, 3, 5}


@pytest.mark.parametrize("score", [None, float("nan"), float("inf")])
def test_without_a_number_a_checkpoint_is_not_the_best(linear, tmp_path, score):
    run = linear.setup(devices=1)
    with Checkpoints(tmp_path, keep=1, keep_best=1) as checkpoints:
        checkpoints.save(1, run.state, score)
        assert checkpoints.best() is None
        checkpoints.save(2, run.state, 0.9)
        checkpoints.save(3, run.state, score)
        assert checkpoints.best() == 2
    assert saved(tmp_path) == {2, 3}


def test_a_checkpoint_is_chosen_by_score_by_age_or_by_step(run, tmp_path):
    load = lambda which: load_ema(tmp_path, shapes(run.state.params), which)
    for which, step in (("best", 2), ("latest", 5), (3, 3)):
        jax.tree.map(np.testing.assert_array_equal, load(which), state_of(run, step).ema)
    with pytest.raises(UserError, match=r"no checkpoint of step 4 in .*; there: 2, 3, 5"):
        load(4)
    for step in (2, 3, 5):
        (tmp_path / str(step) / NAME).unlink()
    with pytest.raises(UserError, match=r"no checkpoint in .* has a held-out loss; train with"):
        load("best")


@pytest.mark.parametrize("part", [NAME, "default/_METADATA"])
def test_a_damaged_best_one_makes_room_for_the_next(run, tmp_path, capsys, part):
    (tmp_path / "2" / part).write_text("{")
    ema = load_ema(tmp_path, shapes(run.state.params), "best")
    jax.tree.map(np.testing.assert_array_equal, ema, state_of(run, 3).ema)
    if part != NAME:
        assert "(step 2) cannot be read" in capsys.readouterr().err
    with Checkpoints(tmp_path, keep=1, keep_best=2) as checkpoints:  # a run still starts
        assert checkpoints.resume(run.state)[0] == 5


def grows(params):
    """A loss that grows while the student learns, so that the first checkpoint is the best."""
    return -float(jnp.sum((params["kernel"] - jnp.eye(8, 16)) ** 2))


def run_training(linear, directory, batches=None):
    run = linear.setup()
    with (
        Checkpoints(directory, keep=1, keep_best=1) as checkpoints,
        MetricsLog(directory / "m.jsonl") as metrics,
    ):
        return train(
            lambda i: run.step,
            run.state,
            run.frozen,
            batches or linear.batches,
            steps=linear.steps,
            root_key=jax.random.key(11),
            mesh=run.mesh,
            checkpoints=checkpoints,
            metrics=metrics,
            log_every=100,
            checkpoint_every=2,
            held_out=HeldOut(grows, every=2),
        )


def curve(directory):
    lines = [json.loads(line) for line in (directory / "m.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line if not is_timing(name)} for line in lines]


def dies(i):
    if i == 5:
        raise RuntimeError("power cut")


def is_told_to_stop(i):
    """After the first update, whose checkpoint would be the best if it were measured."""
    if i == 0:
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("interrupt, error", [(dies, RuntimeError), (is_told_to_stop, SystemExit)])
def test_an_interrupted_run_has_the_best_of_one_that_was_not(linear, tmp_path, interrupt, error):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    end = run_training(linear, whole)
    assert saved(whole) == {2, 6}
    with pytest.raises(error):
        run_training(linear, cut, lambda i: interrupt(i) or linear.batches(i))
    run_training(linear, cut)
    assert saved(cut) == {2, 6}
    assert read_scores(cut, (2, 6)) == read_scores(whole, (2, 6))
    assert curve(cut) == curve(whole)
    assert [line["step"] for line in curve(whole)] == [2, 4, 6]
    assert curve(whole)[-1]["held_out"] == grows(end.ema)
    with Checkpoints(cut) as ours, Checkpoints(whole) as theirs:
        assert ours.best() == theirs.best() == 2
        states = [c.restore(abstract(linear.setup().state), 2) for c in (ours, theirs)]
    jax.tree.map(np.testing.assert_array_equal, *states)
