"""Updates from seconds: the probe of a training, and what is solved from its metrics."""

import json
import os

import pytest

from drf_jax import build
from drf_jax.cli.config_file import load_config
from drf_jax.configs import digits, digits_distilled
from drf_jax.errors import UserError
from drf_jax.runs.budget import (
    LINES,
    as_flags,
    probe_changes,
    schedule,
    seconds_per_update,
    switch_of,
    updates_within,
)


def write_probe(folder, milliseconds, every=5):
    """Metrics of phases that took so many milliseconds an update; the first line of each is slow."""
    folder.mkdir(parents=True)
    lines, step = [], 0
    for ms in milliseconds:
        for i in range(LINES):
            step += every
            lines.append({"step": step, "step_ms": ms if i else 50 * ms})
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))


def config_of(method, **changes):
    config = digits_distilled.get_config(f"method={method}")
    config.update_from_flattened_dict(changes)
    return config


def test_a_training_of_one_phase_takes_its_seconds(tmp_path):
    write_probe(tmp_path / "run", [20.0])
    assert seconds_per_update(tmp_path / "run", config_of("lcm"), 5) == pytest.approx(0.02)
    assert updates_within(60.0, 0.02) == 3000


def test_phases_count_by_their_share(tmp_path):
    write_probe(tmp_path / "run", [10.0, 30.0])
    config = config_of("step", **{"train.steps": 100, "method.on_policy_after": 75})
    assert seconds_per_update(tmp_path / "run", config, 5) == pytest.approx(0.015)


def test_the_second_halving_stands_for_the_rest(tmp_path):
    config = config_of("progressive", **{"method.start": 32, "method.last": 2})
    assert probe_changes(config, 5)["method.start"] == 8
    assert probe_changes(config, 5)["evaluate.calls"] == ()
    for i, (stage, ms) in enumerate({"stage-4": 40.0, "stage-2": 10.0}.items()):
        write_probe(tmp_path / "run" / stage, [ms])
        os.utime(tmp_path / "run" / stage / "metrics.jsonl", (i, i))
    assert seconds_per_update(tmp_path / "run", config, 5) == pytest.approx(0.04 + 3 * 0.01)


def test_a_short_training_uses_each_trajectory_as_often():
    config = config_of("step", **{"train.steps": 100, "method.trajectories": 1000})
    assert schedule(config, 100)["method.trajectories"] == 1000
    assert schedule(config, 7)["train.checkpoint_every"] == 4  # after 4 and 7, not 6 and 7
    assert schedule(config, 25)["method.trajectories"] == 250
    assert probe_changes(config, 5)["method.trajectories"] == 3 * config.method.trajectory_batch
    assert "method.trajectories" not in schedule(config_of("lcm"), 25)


def test_an_unfinished_probe_is_named(tmp_path):
    write_probe(tmp_path / "run", [10.0])
    with pytest.raises(UserError, match="did not come to update 40"):
        seconds_per_update(tmp_path / "run", config_of("step"), 5)
    with pytest.raises(UserError, match="no metrics"):
        seconds_per_update(tmp_path / "nothing", config_of("lcm"), 5)


@pytest.mark.parametrize(
    "config",
    [
        digits.get_config(),
        *(digits_distilled.get_config(f"method={name}") for name in digits_distilled.METHODS),
    ],
    ids=lambda config: config.get("method", {}).get("name", config.task),
)
def test_probe_and_schedule_are_valid_configs(config):
    key, share = switch_of(config)
    for changes in (probe_changes(config, 10), schedule(config, 200)):
        made = config.copy_and_resolve_references()
        made.update_from_flattened_dict(changes)
        spec, optimizer = build.train(made), build.optimizer(made)
        assert optimizer.warmup < spec.steps
        assert switch_of(made)[0] == key
    assert share == pytest.approx(switch_of(made)[1]) and spec.steps == 200
    probe = probe_changes(config, 10)
    assert probe["train.steps"] == (80 if 0 < share < 1 else 40)


def test_changes_are_flags_of_the_command_line():
    spec = f"{digits_distilled.__file__}:method=consistency_distillation"
    config = load_config(spec)
    assert as_flags({"evaluate.hybrid.rounds": (1, 2), "train.steps": 3}) == [
        "--config.evaluate.hybrid.rounds=(1, 2)",
        "--config.train.steps=3",
    ]
    assert "rounds" in config.evaluate.hybrid
