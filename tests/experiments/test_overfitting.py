"""A student's error on the trajectories that it was trained on, and on others."""

import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import build
from drf_jax.data.conditioning import null_of
from drf_jax.runs.trajectories import Walk
from drf_jax.sampling.grid import make_grid
from drf_jax.sampling.guidance import Guided
from drf_jax.sampling.loops import COMPILED
from drf_jax.sampling.method import serial_method
from drf_jax.sampling.step import DDIM


@pytest.fixture(scope="module")
def overfitting(experiment):
    return experiment("overfitting")


@pytest.mark.parametrize("guidance", [build.UNGUIDED, (1.0, 4.0)])
def test_the_teacher_itself_makes_no_error(overfitting, untrained_teacher, guidance, tmp_path):
    teacher = untrained_teacher
    walk = Walk("uniform", 6, 1, guidance)
    grid = make_grid("uniform", teacher.denoiser.process, 6)

    def method(params, calls, weight):
        guided = Guided(teacher.denoiser, jnp.float32(weight), null_of(teacher.data))
        return serial_method("same", DDIM(), guided, teacher.denoiser.process, grid, COMPILED)

    stage = SimpleNamespace(calls=(6,), method=method)
    found = overfitting.errors(stage, None, teacher, walk, 0, 5, tmp_path / "walks.npy")
    assert found.shape == (5,) and found.max() < 1e-5
    # From other noises it would be another walk.
    made = np.load(tmp_path / "walks.npy")
    assert made.shape == (5, 2, 8, 8, 1) and np.abs(np.diff(made[:, -1], axis=0)).max() > 0.1


def test_a_student_is_compared_with_its_own_cache_and_with_others(overfitting, demo, tmp_path):
    student = demo / "learned-4"
    count = json.loads((student / "config.json").read_text())["method"]["trajectories"]
    name, trajectories, updates, own, _, others, _ = overfitting.compared(str(student), 8, tmp_path)
    assert (name, trajectories) == ("learned-4", count) and updates > 0
    cached = np.load(student / "trajectories.npy")[:8]
    kept = [np.load(path) for path in sorted(tmp_path.glob("*.npy"))]
    mine = min(kept, key=lambda walks: np.abs(walks[:, 0] - cached[:, 0]).max())
    np.testing.assert_allclose(mine[:, -1], cached[:, -1], atol=1e-4)
    assert len(kept) == 2 and own > 0 and others > 0 and own != others


def test_what_cannot_be_compared_is_said(overfitting, demo, tmp_path, capsys):
    words = [f"--students={demo / 'learned-4'}", "--samples=100000", f"--runs={tmp_path}"]
    assert overfitting.main(words) == 2
    assert "at least 100000 are compared" in capsys.readouterr().err
