"""A packed model's teacher is a run again: the same networks, classifier and seconds, wherever it is unpacked."""

import json
import shutil

import jax
import numpy as np
import pytest

from drf_jax.cli.main import main
from drf_jax.data.conditioning import condition_of
from drf_jax.evaluation.digest import file_digest
from drf_jax.runs.distil import load_distilled
from drf_jax.runs.teacher import load_teacher
from drf_jax.zoo.model import is_model, load_model
from drf_jax.zoo.pack import pack
from drf_jax.zoo.unpack import unpack


@pytest.fixture(scope="module")
def packed(demo, tmp_path_factory):
    """The demonstration's teacher and 4-call student, packed."""
    folder = tmp_path_factory.mktemp("unpack") / "tiny"
    pack(demo / "learned-4", folder)
    return folder


@pytest.fixture(scope="module")
def run(packed, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("unpack") / "run"
    assert main(["unpack", "--model", str(packed), "--workdir", str(workdir)]) == 0
    return workdir


def test_the_run_has_the_models_teacher(packed, run):
    model, teacher = load_model(packed), load_teacher(run)
    assert teacher.sha256 == model.teacher.sha256
    for a, b in zip(
        *map(jax.tree.leaves, (model.teacher.denoiser.params, teacher.denoiser.params)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_packed_again_nothing_differs(demo, packed, run, tmp_path):
    assert is_model(packed) and not is_model(tmp_path)
    assert not pack(run, tmp_path / "again")["rounded"]
    before, after = (
        json.loads((folder / "model.json").read_text())["teacher"]
        for folder in (packed, tmp_path / "again")
    )
    assert after == before and after["train_seconds"] > 0
    for folder in (run, tmp_path / "again"):
        assert file_digest(folder / "features.npz") == file_digest(
            demo / "teacher" / "features.npz"
        )


def test_it_says_where_the_data_are_and_may_be_repeated(packed, tmp_path):
    for _ in range(2):
        unpack(packed, tmp_path / "run", "elsewhere")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"] == {"name": "digits", "data_dir": "elsewhere"}


def test_the_student_is_a_run_again_too(packed, tmp_path, capsys):
    run, student = tmp_path / "run", tmp_path / "student"
    words = ["unpack", "--model", str(packed), "--workdir", str(run), "--student", str(student)]
    for _ in range(2):
        assert main(words) == 0
    teacher, model = load_teacher(run), load_model(packed)
    (made,) = load_distilled(student, teacher)
    assert made.train_seconds == model.facts["student"]["train_seconds"] > 0
    data = teacher.data
    noise = jax.random.normal(jax.random.key(0), (2, *data.image_shape))
    keys = jax.random.split(jax.random.key(1), 2)
    arguments = noise, keys, condition_of(data, np.arange(2))
    np.testing.assert_array_equal(
        made.method.sampler(*arguments), model.method().sampler(*arguments)
    )
    other = shutil.copytree(packed, tmp_path / "other")
    with np.load(other / "student-0.npz") as stored:
        np.savez(other / "student-0.npz", **{name: stored[name] ^ 1 for name in stored.files})
    before = {path: path.read_bytes() for path in student.rglob("*") if path.is_file()}
    assert main(["unpack", "--model", str(other), *words[3:]]) == 2
    assert f"{student} holds another student" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in student.rglob("*") if path.is_file()}
    pack(run, tmp_path / "teacher alone")
    words[2] = str(tmp_path / "teacher alone")
    assert main(words) == 2
    assert "--student: the model teacher alone has none" in capsys.readouterr().err


def test_another_teacher_is_not_taken_for_this_one(packed, run, tmp_path, capsys):
    """Of the same config, but trained to other parameters."""
    other = shutil.copytree(packed, tmp_path / "other")
    with np.load(other / "teacher.npz") as stored:
        np.savez(other / "teacher.npz", **{name: stored[name] ^ 1 for name in stored.files})
    assert main(["unpack", "--model", str(other), "--workdir", str(run)]) == 2
    assert f"{run} holds another teacher" in capsys.readouterr().err
    assert main(["unpack", "--model", str(packed)]) == 2
    assert "--workdir is missing" in capsys.readouterr().err
