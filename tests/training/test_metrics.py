import json
import sys

import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.training.metrics import MetricsLog


def read(path):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def test_one_line_a_step_with_time_and_floats(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    with MetricsLog(path) as log:
        log.write(1, {"loss": 0.5, "acc": np.float32(0.25)})
        log.write(2, {"loss": 0.25})
    first, second = read(path)
    assert {k: v for k, v in first.items() if k != "time"} == {"step": 1, "loss": 0.5, "acc": 0.25}
    assert second["time"] >= first["time"] > 1e9


def test_numbers_that_are_not_finite_become_null(tmp_path):
    with MetricsLog(tmp_path / "m") as log:
        log.write(1, {"a": float("nan"), "b": float("inf"), "c": 1.0})
    (line,) = read(tmp_path / "m")
    assert (line["a"], line["b"], line["c"]) == (None, None, 1.0)


def test_half_line_of_a_kill_is_dropped(tmp_path):
    path = tmp_path / "m"
    path.write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "lo')
    with MetricsLog(path) as log:
        log.write(2, {"loss": 0.5})
    assert [line["step"] for line in read(path)] == [1, 2]


def test_rewind_drops_later_steps(tmp_path):
    path = tmp_path / "m"
    with MetricsLog(path) as log:
        for step in (10, 20, 30):
            log.write(step, {"loss": 1.0})
        log.rewind(20)
        assert [line["step"] for line in read(path)] == [10, 20]
        log.write(30, {"loss": 2.0})
    assert read(path)[-1]["loss"] == 2.0
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_reopening_keeps_every_complete_line(tmp_path):
    path = tmp_path / "m"
    MetricsLog(path).write(5, {"loss": 1.0})
    before = path.read_text()
    MetricsLog(path)
    assert path.read_text() == before


def test_tensorboard_without_its_package_is_a_user_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match="tensorboardX is not installed"):
        MetricsLog(tmp_path / "m", tensorboard=True)


def test_tensorboard_gets_every_number(tmp_path, monkeypatch):
    calls = []

    class SummaryWriter:
        def __init__(self, logdir, purge_step):
            calls.append((logdir, purge_step))

        def add_scalar(self, name, value, step):
            calls.append((name, value, step))

        def flush(self):
            pass

        def close(self):
            calls.append("closed")

    fake = type(sys)("tensorboardX")
    fake.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "tensorboardX", fake)
    with MetricsLog(tmp_path / "m", tensorboard=True) as log:
        log.write(3, {"loss": 0.5})
    assert calls == [(str(tmp_path), 3), ("loss", 0.5, 3), "closed"]
