"""``drf export`` of a teacher and of a student."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import export
from drf_jax.cli.main import main
from drf_jax.configs import digits, digits_learned
from drf_jax.runs.distil import load_distilled
from drf_jax.runs.teacher import load_teacher

TEACHER = [
    *("export", "--config", f"{digits.__file__}:smoke"),
    *("--config.network.width=16", "--config.network.depth=1", "--config.network.heads=2"),
]
STUDENT = ["export", "--config", f"{digits_learned.__file__}:calls=4,smoke"]


@pytest.fixture(autouse=True)
def quick(quick_compile):
    with quick_compile():
        yield


@pytest.mark.slow
def test_a_student_s_sampler_makes_its_images(demo, tmp_path, capsys):
    out = tmp_path / "sampler.npz"
    args = [f"--workdir={demo / 'learned-4'}", f"--config.teacher={demo / 'teacher'}"]
    assert main([*STUDENT, *args, f"--out={out}", "--batch=2", "--platforms=cpu,tpu"]) == 0
    assert "learned-4: 4 sequential calls" in capsys.readouterr().out
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["platforms"] == ["cpu", "tpu"] and card["dataset"] == "digits"
    method = load_distilled(demo / "learned-4", load_teacher(demo / "teacher"))[0].method
    noise = jax.random.normal(jax.random.key(0), tuple(card["inputs"]["noise"]["shape"]))
    keys, cond = jax.random.split(jax.random.key(1), 2), {"label": jnp.array([3, 10], jnp.int32)}
    images = export.load(out)(noise, jax.random.key_data(keys), cond)
    np.testing.assert_allclose(images, method.sampler(noise, keys, cond), atol=1e-4)


def test_one_of_a_teacher_s_methods(demo, tmp_path):
    out = tmp_path / "sampler.npz"
    args = [f"--workdir={demo / 'teacher'}", f"--out={out}", "--platforms=cpu"]
    assert main([*TEACHER, *args, "--method=driffusion-aggressive-4"]) == 0
    card = json.loads(out.with_suffix(".json").read_text())
    assert (card["method"], card["sequential_calls"]) == ("driffusion-aggressive-4", 4)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "--out is missing"),
        (["--out=a.bin"], "a.bin: the exported sampler's name must end in .npz"),
        (["--out=a.npz", "--platforms=gpu"], "platform 'gpu': choose among cpu, cuda"),
        (["--out=a.npz", "--method=ddim-5"], "--method ddim-5: choose among ddim-4"),
    ],
)
def test_mistakes_are_one_line(demo, tmp_path, monkeypatch, capsys, given, said):
    monkeypatch.chdir(tmp_path)
    assert main([*TEACHER, f"--workdir={demo / 'teacher'}", *given]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
