"""A training of given seconds: probe and training in one process, one compilation of each update for both."""

import json

import jax
import numpy as np
import pytest

from drf_jax.config import changed, plain
from drf_jax.configs import digits, digits_distilled
from drf_jax.data.trajectories import made_with
from drf_jax.errors import UserError
from drf_jax.runs import distil, timed
from drf_jax.runs.budget import schedule
from drf_jax.runs.distil import load_stages
from drf_jax.runs.teacher import load_teacher, train_teacher
from drf_jax.runs.timed import BUDGET, train_for
from drf_jax.runs.trajectories import TRAJECTORIES

EVERY = 2


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, quick_compile):
    folder = tmp_path_factory.mktemp("timed") / "teacher"
    config = digits.get_config("smoke")
    config.network.update(width=16, depth=1, heads=2)
    config.optimizer.warmup = 1
    config.train.update(steps=2, checkpoint_every=2)
    train_teacher(config, folder)
    return str(folder)


def config_of(teacher, method="step"):
    config = digits_distilled.get_config(f"method={method},smoke")
    config.teacher = teacher
    return config


@pytest.fixture
def compiled(monkeypatch):
    """The updates that were made to be compiled."""
    return kept(monkeypatch, "jit_step")


def kept(monkeypatch, name):
    """What a function of `distil` has made."""
    made, make = [], getattr(distil, name)

    def keep(*args):
        made.append(make(*args))
        return made[-1]

    monkeypatch.setattr(distil, name, keep)
    return made


def steps(run):
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def parameters(config, run, teacher):
    _, _, (*_, params) = load_stages(config, run, load_teacher(teacher))
    return jax.tree.leaves(params)


def test_the_training_is_that_of_as_many_updates(
    teacher, tmp_path, compiled, monkeypatch, quick_compile
):
    config, run = config_of(teacher), tmp_path / "run"
    inits = kept(monkeypatch, "jit_sharded")
    budget = train_for(config, run, 0.2, tmp_path / "pool", EVERY)
    assert [step._cache_size() for step in compiled] == [1, 1]  # both phases, once
    assert [init._cache_size() for init, _ in inits] == [1]
    assert budget == json.loads((run / BUDGET).read_text())
    update, trajectory = budget["seconds_per_update"], budget["seconds_per_trajectory"]
    made, steps_of_config = config.method.trajectories, config.train.steps
    assert budget["updates"] == max(2, int(0.2 / (update + trajectory * made / steps_of_config)))
    assert steps(run)[-1] == budget["updates"]
    facts = made_with(run / TRAJECTORIES)
    assert facts["done"] == round(made * budget["updates"] / steps_of_config)
    assert budget["preparation_seconds"] == facts["done"] * facts["seconds_each"] > 0
    assert not (run / timed.PROBE).exists()
    assert len(list((tmp_path / "pool").glob(f"*/{TRAJECTORIES}"))) == 1

    alone = changed(config, schedule(config, budget["updates"]))
    distil.train_distilled(alone, tmp_path / "alone")
    found = [parameters(alone, folder, teacher) for folder in (run, tmp_path / "alone")]
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_a_run_that_goes_on_keeps_to_what_was_found_out(teacher, tmp_path, compiled, quick_compile):
    config, run = config_of(teacher, "lcm"), tmp_path / "run"
    run.mkdir()
    (run / BUDGET).write_text(json.dumps({"seconds": 0.1, "updates": 6}))
    assert train_for(config, run, 0.1, every=EVERY)["updates"] == 6
    assert steps(run)[-1] == 6 and len(compiled) == 1
    train_for(config, run, 0.1, every=EVERY)
    assert steps(run)[-1] == 6
    with pytest.raises(UserError, match=r"was planned for 0\.1 seconds, not 3"):
        train_for(config, run, 3.0, every=EVERY)


def test_killed_while_trajectories_are_made_it_goes_on_with_as_many(
    teacher, tmp_path, monkeypatch, quick_compile
):
    def killed(*_):
        raise KeyboardInterrupt

    config, run = config_of(teacher), tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(timed, "prepare", killed)
        train_for(config, run, 0.2, None, EVERY)
    planned = json.loads((run / BUDGET).read_text())
    monkeypatch.setattr(timed, "probe_changes", lambda *_: pytest.fail("another probe"))
    budget = train_for(config, run, 0.2, None, EVERY)
    assert timed.PREPARATION not in planned and budget.pop(timed.PREPARATION) > 0
    assert budget == planned and steps(run)[-1] == planned["updates"]


def test_updates_that_are_known_need_no_probe(teacher, tmp_path, monkeypatch, quick_compile):
    monkeypatch.setattr(timed, "probe_changes", lambda *_: pytest.fail("a probe"))
    budget = train_for(config_of(teacher), tmp_path / "run", 0.2, None, EVERY, updates=4)
    assert budget["updates"] == 4 and budget["preparation_seconds"] > 0
    assert steps(tmp_path / "run")[-1] == 4


def test_a_teacher_is_trained_for_seconds_too(tmp_path, quick_compile):
    config = digits.get_config("smoke")
    config.network.update(width=16, depth=1, heads=2)
    budget = train_for(plain(config), tmp_path / "run", 0.2, None, EVERY)
    assert budget["preparation_seconds"] == 0
    assert steps(tmp_path / "run")[-1] == budget["updates"] >= 2


def test_several_processes_would_plan_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(timed.jax, "process_count", lambda: 2)
    with pytest.raises(UserError, match="of given seconds is one process's"):
        train_for({}, tmp_path / "run", 1.0)
    assert not (tmp_path / "run").exists()


def test_an_address_is_no_folder_for_a_training_of_given_seconds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="gs://bucket/run is an address"):
        train_for({}, "gs://bucket/run", 1.0)
    assert not list(tmp_path.iterdir())


def test_images_are_decoded_before_a_training_that_reads_them(teacher, tmp_path, monkeypatch):
    decoded, runs = [], []
    monkeypatch.setattr(
        timed, "decode_all", lambda source: decoded.append((source.name, len(runs)))
    )
    for task in timed.RUNS:
        monkeypatch.setitem(timed.RUNS, task, lambda *args: runs.append(args))
    monkeypatch.setattr(timed, "prepare", lambda *args: 0.0)
    train_for(config_of(teacher, "consistency_training"), tmp_path / "reads", 1.0, updates=2)
    train_for(config_of(teacher), tmp_path / "walks", 1.0, updates=2)
    train_for(digits.get_config("smoke"), tmp_path / "teacher", 1.0, updates=2)
    assert decoded == [("digits", 0), ("digits", 2)] and len(runs) == 3
