"""The experiment on time grids, on an untrained teacher."""

import numpy as np
import pytest

from drf_jax.errors import UserError


@pytest.fixture(scope="module")
def grids(experiment):
    return experiment("grids")


@pytest.fixture(scope="module")
def bench(grids, small_bench):
    return small_bench()


def test_rows_tell_grids_apart_and_the_reference_is_itself(grids, bench, tmp_path):
    reference = grids.Walk("ddim", "shifted:2", 5)
    walks = [reference, grids.Walk("ddim", "power:2", 3), grids.Walk("unipc", "shifted:2", 3)]
    jobs = grids.every_job(bench, walks, reference)
    assert len({job.mark for job in jobs}) == 3
    rows = [job.make()[0] for job in jobs]
    assert [(r["method"], r["grid"]) for r in rows] == [
        ("ddim-5", "shifted:2"),
        ("ddim-3", "power:2"),
        ("unipc-3", "shifted:2"),
    ]
    assert rows[0]["rmse_to_teacher"] < 1e-6 < rows[1]["rmse_to_teacher"]
    assert rows[1]["sequential_calls"] == 3 and np.isfinite(rows[1]["fd"])
    grids.draw(tmp_path / "grids.png", rows[1:])
    assert (tmp_path / "grids.png").exists()


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--grids", "uniform,shifted"], "grid = 'shifted': shifted takes a positive number"),
        (["--solvers", "euler"], "--solvers euler: choose among ddim, dpmpp-2m, unipc"),
        (["--students", "runs/a"], "--students: a student's times are those"),
    ],
)
def test_a_wrong_flag_is_told_before_anything_is_loaded(grids, flags, said, capsys):
    assert grids.main([*flags, "--teacher", "/nowhere"]) == 2
    assert said in capsys.readouterr().err


def test_steps_are_numbers(grids, capsys):
    assert grids.main(["--steps", "8,0", "--teacher", "/nowhere"]) == 2
    assert "--steps 8,0: must be numbers of at least 1" in capsys.readouterr().err
    with pytest.raises(UserError, match="--steps x"):
        grids.numbers("x", "--steps")
