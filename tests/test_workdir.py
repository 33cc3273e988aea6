import errno
import json

import numpy as np
import pytest
from ml_collections import ConfigDict

from drf_jax.errors import UserError
from drf_jax.workdir import check_same, claim, difference, read_config

CONFIG = {"seed": 1, "train": {"steps": 5, "log_every": 2}, "evaluate": {"samples": 3}, "mesh": {}}


def changed(path, value):
    config = json.loads(json.dumps(CONFIG))
    *sections, key = path.split(".")
    section = config
    for name in sections:
        section = section[name]
    section[key] = value
    return config


def trained(workdir):
    claim(workdir, CONFIG)
    (workdir / "checkpoints" / "5").mkdir(parents=True)
    return workdir


@pytest.mark.parametrize("make", [dict, ConfigDict])
def test_claim_writes_the_config_and_makes_the_folder(tmp_path, make):
    workdir = claim(tmp_path / "a" / "b", make(CONFIG))
    assert read_config(workdir) == CONFIG
    assert {p.name for p in workdir.iterdir()} == {"config.json", ".lock"}


def test_the_same_experiment_may_go_on(tmp_path):
    workdir = trained(tmp_path)
    before = (workdir / "config.json").read_bytes()
    assert claim(workdir, CONFIG) == workdir
    assert (workdir / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("train.steps", 6, r"config\.train\.steps is 5 there and 6 here"),
        ("seed", "1", r"config\.seed is 1 there and '1' here"),
        ("train.extra", 1, r"config\.train\.extra is 'not set' there and 1 here"),
    ],
)
def test_another_experiment_is_refused_and_nothing_is_written(tmp_path, path, value, message):
    workdir = trained(tmp_path)
    before = (workdir / "config.json").read_bytes()
    for check in (claim, check_same):
        with pytest.raises(UserError, match=f"{workdir} holds another experiment: {message}"):
            check(workdir, changed(path, value))
    assert (workdir / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("path", "value"),
    [("train.log_every", 7), ("evaluate.samples", 9), ("evaluate.new", 1), ("mesh.data", 8)],
)
def test_what_does_not_change_the_training_is_free(path, value):
    assert difference(CONFIG, changed(path, value)) is None


def test_tuples_and_lists_are_the_same(tmp_path):
    assert difference({"a": [1, 2]}, {"a": (1, 2)}) is None
    assert "config.a" in difference({"a": [1, 2]}, {"a": (1, 3)})


def test_a_run_that_saved_nothing_may_start_with_another_config(tmp_path):
    claim(tmp_path, CONFIG)
    (tmp_path / "checkpoints").mkdir()
    claim(tmp_path, changed("train.steps", 6))
    assert read_config(tmp_path)["train"]["steps"] == 6


def test_missing_and_damaged_configs_are_named(tmp_path):
    with pytest.raises(UserError, match=rf"no run in {tmp_path}: .*config\.json is missing"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text('{"seed": ')
    with pytest.raises(UserError, match=r"config\.json is not readable JSON"):
        read_config(tmp_path)


@pytest.mark.parametrize("below", ["file", "file/run"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path, below):
    (tmp_path / "file").write_text("here")
    with pytest.raises(UserError, match=f"cannot write to {tmp_path / below}: "):
        claim(tmp_path / below, CONFIG)
    assert (tmp_path / "file").read_text() == "here"


def test_values_that_json_does_not_know_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"config: .*ndarray.*use numbers, strings"):
        claim(tmp_path / "run", {"seed": np.zeros(2)})
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_not_writable_is_named(tmp_path, monkeypatch):
    def refuse(path, flags, mode=0o777):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("drf_jax.lock.os.open", refuse)
    with pytest.raises(UserError, match=f"cannot write to {tmp_path}: Permission denied"):
        claim(tmp_path, CONFIG)
    assert not (tmp_path / "config.json").exists()


def test_runs_of_earlier_versions_go_on(tmp_path):
    """A key has another name since then, and one is new."""
    before = {**CONFIG, "objective": {"label_dropout": 0.1}}
    now = {**CONFIG, "objective": {"cond_dropout": 0.1}, "train": CONFIG["train"] | {"held_out": 0}}
    assert difference(before, now) is None
    now["objective"]["cond_dropout"] = 0.2
    assert difference(before, now) == "config.objective.cond_dropout is 0.1 there and 0.2 here"
    now = {**CONFIG, "train": CONFIG["train"] | {"held_out": 64}}
    assert difference(CONFIG, now) == "config.train.held_out is 0 there and 64 here"
