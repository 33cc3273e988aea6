"""Trajectories that are made before the training are those that the training finds."""

import jax
import jax.numpy as jnp
import pytest

from drf_jax import build
from drf_jax.config import plain
from drf_jax.configs import digits, digits_distilled, digits_learned
from drf_jax.data.trajectories import made_with
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.runs.preparation import cache_trajectories, prepare
from drf_jax.runs.trajectories import TRAJECTORIES
from drf_jax.training.checkpoint import Checkpoints
from drf_jax.training.state import TrainState
from drf_jax.workdir import claim


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A run that was not trained."""
    workdir = tmp_path_factory.mktemp("prepared") / "teacher"
    config = digits.get_config("smoke")
    config.network = {"name": "dit", "width": 8, "depth": 1, "heads": 2}
    data = build.source(config)
    network = DenoisingNetwork(build.backbone(config, data))
    params = build.init_teacher(network, data, jax.random.key(0))
    claim(workdir, plain(config))
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        checkpoints.save(20, TrainState(jnp.int32(20), params, params, {}))
    return str(workdir)


@pytest.mark.parametrize(
    "config",
    [digits_distilled.get_config("method=step,smoke"), digits_learned.get_config("calls=4,smoke")],
    ids=["step", "draft_refine"],
)
def test_what_is_cached_is_complete_and_not_made_twice(config, teacher, tmp_path):
    config = plain(config) | {"teacher": teacher}
    seconds = prepare(config, tmp_path / "run")
    path = tmp_path / "run" / TRAJECTORIES
    assert made_with(path)["done"] == config["method"]["trajectories"]
    assert seconds == made_with(path)["seconds_each"] * made_with(path)["done"] > 0
    before = path.stat().st_mtime_ns
    cache_trajectories(config, tmp_path / "run")
    assert path.stat().st_mtime_ns == before


def test_other_methods_need_none(teacher, tmp_path):
    config = plain(digits_distilled.get_config("method=lcm,smoke")) | {"teacher": teacher}
    assert prepare(config, tmp_path / "run") == 0.0
    assert not (tmp_path / "run").exists()


def test_students_that_need_the_same_share_them(teacher, tmp_path):
    config = plain(digits_learned.get_config("calls=4,smoke")) | {"teacher": teacher}
    other = {**config, "method": {**config["method"], "end_weight": 0.5}}
    longer = {**config, "method": {**config["method"], "rounds": 4}}
    more = {**config, "method": {**config["method"], "trajectories": 24}}
    places = lambda name: (tmp_path / name, tmp_path / "pool")
    states = lambda name: tmp_path / name / TRAJECTORIES

    seconds = prepare(config, *places("first"))
    assert prepare(other, *places("second")) == seconds
    assert states("second").samefile(states("first"))

    for i, other in enumerate((longer, more)):
        prepare(other, *places(f"other-{i}"))
        made = states(f"other-{i}")
        assert made_with(made)["done"] == other["method"]["trajectories"]
        assert not made.samefile(states("first"))
    assert len(list((tmp_path / "pool").glob(f"*/{TRAJECTORIES}"))) == 3
