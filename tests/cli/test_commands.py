"""Train, sample, evaluate and demo, from the words of the command line to the files."""

import hashlib
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from drf_jax.cli.main import main
from drf_jax.configs import digits, digits_learned

TEACHER = [
    *("--config", f"{digits.__file__}:smoke"),
    *("--config.network.width=16", "--config.network.depth=1", "--config.network.heads=2"),
]
STUDENT = ["--config", f"{digits_learned.__file__}:calls=4,smoke"]
ROW_KEYS = {
    *("method", "sequential_calls", "network_evaluations", "drafts", "ms_batch1", "fd"),
    *("rmse_to_teacher", "samples", "seed"),
}
ENTRY = "from drf_jax.cli.main import run; run()"
METHODS = [
    *("ddim-48", "ddim-8", "ddim-4", "driffusion-conservative-8"),
    *("driffusion-aggressive-8", "driffusion-aggressive-4", "learned-4"),
]


def contents(folder):
    """Relative path -> hash of every file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def results(path):
    return json.loads(path.read_text())


@pytest.fixture(autouse=True)
def quick(quick_compile):
    with quick_compile():
        yield


@pytest.fixture
def teacher(demo, tmp_path):
    """A copy of the teacher's run."""
    return shutil.copytree(demo / "teacher", tmp_path / "teacher")


@pytest.fixture
def student(demo, tmp_path):
    """A copy of the student's run; its teacher is the demo's."""
    return shutil.copytree(demo / "learned-4", tmp_path / "learned")


def student_args(demo):
    return [*STUDENT, f"--config.teacher={demo / 'teacher'}"]


def test_demo_writes_the_table_that_was_asked_for(demo):
    found = results(demo / "results.json")
    assert {"rows", "device", "jax", "git", "command", "config"} <= found.keys()
    assert [row["method"] for row in found["rows"]] == METHODS
    for row in found["rows"]:
        assert row.keys() >= ROW_KEYS
        assert row["samples"] == 32 and row["seed"] == 0
        assert row["method"].endswith(f"-{row['sequential_calls']}")
    assert found["rows"][0]["rmse_to_teacher"] == 0
    assert all(row["rmse_to_teacher"] > 0 for row in found["rows"][1:])
    assert found["command"] == f"drf demo --out {demo} --arg smoke"
    assert found["config"]["network"]["width"] == 16


def test_demo_draws_all_methods_from_the_same_noises(demo):
    width, height = Image.open(demo / "samples.png").size
    assert width > 7 * 8 and height > 10 * 8
    assert Image.open(demo / "quality.png").size[0] > 100


def test_second_demo_trains_and_measures_nothing(demo, run_demo, capsys):
    before, table = contents(demo), results(demo / "results.json")
    run_demo(demo)
    again = results(demo / "results.json")
    assert again["rows"] == table["rows"]  # with the same milliseconds
    results_files = {"results.json", "teacher/results.json"}  # they name the commit of each run
    changed = {name for name, content in contents(demo).items() if content != before.get(name)}
    assert changed <= results_files and before.keys() == contents(demo).keys()
    printed = capsys.readouterr()
    assert "| ddim-48 |" in printed.out
    assert "step" not in printed.err and "FD" not in printed.err


def test_trained_run_is_not_touched_by_training_again(teacher, student, demo):
    before = contents(teacher), contents(student)
    assert main(["train", *TEACHER, "--workdir", str(teacher)]) == 0
    assert main(["train", *student_args(demo), "--workdir", str(student)]) == 0
    assert (contents(teacher), contents(student)) == before


def test_training_from_the_command_line_leaves_a_whole_run(tmp_path):
    steps = [
        "--config.train.steps=3",
        "--config.train.sample_every=2",
        "--config.optimizer.warmup=1",
    ]
    short = ["--config.sampler.steps=2", "--config.train.checkpoint_every=2"]
    run = tmp_path / "run"
    assert main(["train", *TEACHER, *steps, *short, "--workdir", str(run)]) == 0
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["2", "3"]
    assert Image.open(run / "samples" / "0000002.png").size[0] >= 8 * 8
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 3
    assert results(run / "config.json")["sampler"]["steps"] == 2


def test_sample_draws_the_same_picture_every_time(teacher, demo, tmp_path, capsys):
    out = tmp_path / "pictures" / "teacher.png"
    few = ["--count", "4", "--config.sampler.steps=48"]
    assert main(["sample", *TEACHER, *few, "--workdir", str(teacher), f"--out={out}"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert main(["sample", *TEACHER, *few, "--workdir", str(teacher)]) == 0
    default = teacher / "samples" / "grid.png"
    assert capsys.readouterr().out.strip() == str(default)
    assert default.read_bytes() == out.read_bytes()


def test_student_samples_and_is_evaluated_by_itself(student, demo, capsys):
    run = [*student_args(demo), "--workdir", str(student)]
    assert main(["sample", *run, "--count=4"]) == 0
    assert Image.open(student / "samples" / "grid.png").size[0] >= 2 * 8
    shutil.copy(demo / "teacher" / "features.npz", student)
    few = ["--config.evaluate.samples=32", "--config.evaluate.batch_size=1"]
    assert main(["evaluate", *run, *few]) == 0
    [row] = results(student / "results.json")["rows"]
    before = contents(student / "samples")
    capsys.readouterr()
    assert main(["evaluate", *run, *few]) == 0
    assert results(student / "results.json")["rows"] == [row]  # its milliseconds, too
    assert contents(student / "samples") == before
    printed = capsys.readouterr()
    assert "| learned-4 |" in printed.out and printed.err == ""
    # The demo found the same, from the same samples.
    [expected] = [r for r in results(demo / "results.json")["rows"] if r["method"] == "learned-4"]
    assert row["rmse_to_teacher"] == pytest.approx(expected["rmse_to_teacher"], rel=1e-3)
    assert row["fd"] == pytest.approx(expected["fd"], rel=1e-3)


def test_help_is_not_an_error(capsys):
    for argv in (["--help"], ["help"], ["train", "--help"]):
        assert main(argv) == 0
        assert "usage: drf" in capsys.readouterr().out
    assert main([]) == 2


def test_entry_point(tmp_path):
    drf = Path(sys.executable).with_name("drf")
    command = [str(drf)] if drf.exists() else [sys.executable, "-c", ENTRY]
    run = subprocess.run(
        [*command, "sample", *TEACHER, "--workdir", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.splitlines() == [
        f"drf: no run in {tmp_path / 'none'}: {tmp_path / 'none' / 'config.json'} is missing;"
        " train it first with drf train"
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_whole_smoke_demo(tmp_path, quick_flags):
    """As a user runs it: about a minute."""
    run = subprocess.run(
        [sys.executable, "-c", ENTRY, "demo", "--out", str(tmp_path / "demo"), "--arg", "smoke"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XLA_FLAGS": quick_flags},
    )
    assert run.returncode == 0, run.stderr
    names = [row["method"] for row in results(tmp_path / "demo" / "results.json")["rows"]]
    assert names == [*METHODS[:-1], "learned-8", "learned-4"]
    for name in ("samples.png", "quality.png"):
        assert (tmp_path / "demo" / name).stat().st_size > 1000


def test_the_package_is_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["drf", "nonsense"])
    monkeypatch.setattr("drf_jax.cli.main.rarely_collect", lambda: None)
    with pytest.raises(SystemExit, match="2"):
        runpy.run_module("drf_jax", run_name="__main__")
    assert "unknown command 'nonsense'" in capsys.readouterr().err
