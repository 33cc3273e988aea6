"""The experiment on hybrids, with untrained students of an untrained teacher."""

import argparse
import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from drf_jax.cli.main import main
from drf_jax.configs import digits_distilled
from drf_jax.errors import UserError
from drf_jax.runs.distil import stages_of
from drf_jax.runs.source import Source

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hybrids(experiment):
    return experiment("hybrids")


@pytest.fixture(scope="module")
def bench(hybrids, small_bench):
    return small_bench(seed=1)


@pytest.fixture
def student(hybrids, untrained_teacher):
    def make(method):
        config = digits_distilled.get_config(f"method={method},smoke").to_dict()
        setting, stages = stages_of(config, untrained_teacher)
        source = untrained_teacher.denoiser.params
        params = [stage.init(source, jax.random.key(0)) for stage in stages]
        return hybrids.Student(Path("runs") / method, config, setting, stages, params)

    return make


def given(**changes):
    flags = {"rounds": "1,2", "drafts": "2", "grids": "own", "relaxations": "1,2"}
    flags |= {"ended_by_student": "", "refiner": ""}
    return argparse.Namespace(**flags | changes)


def test_every_combination_is_a_row(hybrids, bench, student):
    lcm = student("lcm")
    jobs = hybrids.every_job(bench, [lcm], given(grids="own,power:2", drafts="1,2"))
    assert len({job.mark for job in jobs}) == 2 * 2 * 2 * 2 == len(jobs)
    job = next(j for j in jobs if j.label == "lcm, 4 calls, K = 2, power:2, ω = 2")
    row, _ = job.make()
    assert (row["ablation"], row["method"]) == ("lcm, K = 2", "hybrid-lcm-4")
    assert (row["sequential_calls"], row["network_evaluations"], row["drafts"]) == (4, 6, 2)
    assert (row["grid"], row["relaxation"], row["seed"]) == ("power:2", 2.0, 1)
    assert np.isfinite(row["fd"]) and row["rmse_to_teacher"] > 0


def test_a_student_that_ends_is_a_row_without_relaxation(hybrids, bench, student):
    asked = given(rounds="2", relaxations="1,2", ended_by_student="2,3")
    *_, job = jobs = hybrids.every_job(bench, [student("lcm")], asked)
    assert len(jobs) == 4 and job.label == "lcm, 5 calls, K = 2, own"
    row, _ = job.make()
    assert (row["method"], row["sequential_calls"]) == ("hybrid-lcm-5", 5)
    assert row["network_evaluations"] == 2 * 4 + 1 and "relaxation" not in row


def test_what_refines_in_the_teacher_s_place_changes_the_samples(hybrids, bench, student):
    lcm = student("lcm")
    moved = jax.tree.map(lambda leaf: leaf + 0.01, bench.teacher.denoiser.params)
    load = lambda folder: Source(moved, folder, 1.0)
    tuned = dataclasses.replace(lcm, setting=dataclasses.replace(lcm.setting, load_refiner=load))
    asked = [given(rounds="2", relaxations="1", refiner=folder) for folder in ("", "a", "b")]
    jobs = [hybrids.every_job(bench, [tuned], each)[0] for each in asked]
    assert len({job.mark for job in jobs}) == 3
    rows = [job.make()[0] for job in jobs]
    errors = [row["rmse_to_teacher"] for row in rows]
    assert errors[0] != errors[1] == errors[2]
    assert [row["ablation"] for row in rows] == [
        "lcm, K = 2",
        "lcm refined by a, K = 2",
        "lcm refined by b, K = 2",
    ]


def test_grids_and_factors_change_the_samples(hybrids, bench, student):
    jobs = hybrids.every_job(bench, [student("lcm")], given(grids="own,power:2", rounds="2"))
    errors = [job.make()[0]["rmse_to_teacher"] for job in jobs]
    assert len(errors) == 4 == len(set(errors))


def test_what_a_student_does_not_draft_is_left_out_and_said(hybrids, bench, student, capsys):
    step = student("step")  # of four steps
    asked = given(rounds="2,4", grids="own,power:2", relaxations="1")
    [job] = hybrids.every_job(bench, [step], asked)
    assert job.label == "step, 8 calls, K = 2, own, ω = 1"
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3 and all(line.startswith("hybrids: left out: step, ") for line in said)
    assert "rounds: 2 is not possible for this student; choose among [4]" in said[0]
    with pytest.raises(UserError, match="no hybrid that is asked for is possible"):
        hybrids.every_job(bench, [step], given(rounds="2"))


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--students", "a", "--grids", "own,shifted"], "grid = 'shifted': shifted takes"),
        ([], "--students: name the folder of a distilled run"),
    ],
)
def test_a_wrong_flag_is_told_before_anything_is_loaded(hybrids, flags, said, capsys):
    assert hybrids.main([*flags, "--teacher", "/nowhere"]) == 2
    assert said in capsys.readouterr().err


def test_the_table_goes_on_where_it_stopped(hybrids, bench, student, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(hybrids, "bench_of", lambda given, folder: bench)
    monkeypatch.setattr(hybrids, "read_student", lambda folder, bench: student(folder))
    words = ["--students=lcm", "--rounds=1", "--metrics=fd", "--seed=1", f"--out={tmp_path}"]
    assert hybrids.main(words) == 0
    assert "| lcm, K = 3 | hybrid-lcm-2 | 2 | 2 | own | 1.5 |" in capsys.readouterr().out
    refuse = lambda *args: pytest.fail("made again")
    monkeypatch.setattr(hybrids, "hybrid_row", refuse)
    assert hybrids.main(words) == 0
    assert hybrids.main([*words, "--metrics=fid"]) == 2
    assert "fid" in capsys.readouterr().err


def test_a_student_that_looked_through_the_judge_is_refused(hybrids, bench, student, monkeypatch):
    lcm = student("lcm")
    monkeypatch.setattr(hybrids, "read_config", lambda folder: lcm.config)
    monkeypatch.setattr(hybrids, "load_stages", lambda *args: (lcm.setting, lcm.stages, lcm.params))
    assert hybrids.read_student("a", bench).params is lcm.params
    monkeypatch.setattr(hybrids, "judge_of", lambda folder: bench.extractor.weights_sha256)
    with pytest.raises(UserError, match=r"--students a: its training looked through"):
        hybrids.read_student("a", bench)


def test_a_run_that_names_no_row_has_the_default(student):
    made = student("consistency_distillation")
    del made.config["evaluate"]["hybrid"]["row"]
    assert made.row == "hybrid"


@pytest.mark.slow
def test_a_trained_run_is_read(hybrids, demo, tmp_path, capsys):
    config, teacher, run = "digits_distilled.py:method=step,smoke", demo / "teacher", tmp_path / "a"
    words = ["train", "--config", str(ROOT / "configs" / config), "--workdir", str(run)]
    assert main([*words, f"--config.teacher={teacher}"]) == 0
    words = [f"--teacher={teacher}", f"--students={run}", "--smoke", f"--out={tmp_path}"]
    assert hybrids.main([*words, "--rounds=4", "--metrics=fd"]) == 0
    assert "| a, K = 3 | hybrid-step-8 | 8 | 17 | own | 1 |" in capsys.readouterr().out
    assert (tmp_path / "results" / "hybrids_digits.json").exists()
    assert hybrids.main([*words, "--rounds=2"]) == 2
    words[1] = f"--students={demo / 'learned-4'}"
    assert hybrids.main(words) == 2
    assert "drafts for no teacher" in capsys.readouterr().err


def test_factors_are_numbers(hybrids):
    assert hybrids.factors("1,1.5") == [1.0, 1.5]
    with pytest.raises(UserError, match="--relaxations 1,x: must be numbers with commas"):
        hybrids.factors("1,x")


def test_a_factor_that_makes_no_sense_is_refused(hybrids, bench, student):
    with pytest.raises(UserError, match=r"relaxation = 0\.0: must be above 0, and below 10"):
        hybrids.every_job(bench, [student("lcm")], given(relaxations="0"))
