"""The time of an update, and where it went."""

import gzip
import json

import jax
import pytest

from drf_jax.errors import UserError


@pytest.fixture(scope="module")
def update_time(experiment):
    return experiment("update_time")


@pytest.mark.slow
def test_a_student_s_update_runs_without_data_or_a_trained_teacher(update_time, quick_compile):
    folder = update_time.ROOT / "configs"
    changes = {"train.batch_size": 8, "teacher.network.width": 8, "teacher.network.heads": 1}
    every = update_time.programs_of(
        f"{folder / 'digits_distilled.py'}:method=step,smoke",
        f"{folder / 'digits.py'}:smoke",
        changes,
    )
    assert set(every) == {"train", "on_policy", "sample"}
    with quick_compile():
        made = update_time.measure("train", every["train"](), 2, 0)
    assert made["batch"] == 8 and 0 < made["p50_ms"] <= made["p95_ms"]


def test_kernels_are_summed_by_name_over_streams_and_devices(update_time, tmp_path):
    name = lambda kind, value, **of: {"ph": "M", "name": kind, "args": {"name": value}, **of}
    event = lambda what, ms, **of: {"ph": "X", "name": what, "dur": 1e3 * ms, **of}
    events = [
        name("process_name", "/device:GPU:0", pid=1),
        name("process_name", "/host:CPU", pid=2),
        name("thread_name", "Stream #7(Compute)", pid=1, tid=1),
        name("thread_name", "Stream #8(Compute)", pid=1, tid=2),
        name("thread_name", "Steps", pid=1, tid=3),
        event("fusion_12", 4.0, pid=1, tid=1),
        event("fusion_7", 6.0, pid=1, tid=2),
        event("gemm", 1.0, pid=1, tid=1),
        event("step", 99.0, pid=1, tid=3),
        event("python", 99.0, pid=2, tid=1),
    ]
    with gzip.open(tmp_path / "x.trace.json.gz", "wt") as file:
        json.dump({"traceEvents": events}, file)
    each = update_time.TRACED * jax.device_count()
    found = update_time.kernel_times(tmp_path, 2)
    assert found == [
        ["all kernels", 11 / each, 3 / each],
        ["fusion", 10 / each, 2 / each],
        ["gemm", 1 / each, 1 / each],
    ]
    assert update_time.kernel_times(tmp_path, 1) == found[:2]


def test_a_change_is_a_key_and_a_json_value_or_a_string(update_time):
    assert update_time.change_of("network.width=64") == ("network.width", 64)
    assert update_time.change_of("network.attention_backend=auto")[1] == "auto"
    with pytest.raises(UserError, match="write KEY=VALUE"):
        update_time.change_of("network.width")
