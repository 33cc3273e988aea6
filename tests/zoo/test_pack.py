"""A packed model is its run, rounded to bfloat16, and needs neither the run nor the data."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from drf_jax import build
from drf_jax.cli.main import main
from drf_jax.configs import digits_distilled
from drf_jax.data.conditioning import condition_of
from drf_jax.errors import UserError
from drf_jax.runs.distil import load_stages
from drf_jax.runs.distillation.rows import rows
from drf_jax.runs.teacher import load_teacher
from drf_jax.workdir import read_config
from drf_jax.zoo import model as zoo
from drf_jax.zoo.card import card
from drf_jax.zoo.model import load_model
from drf_jax.zoo.pack import without_refiner
from drf_jax.zoo.parameters import fits


@pytest.fixture(scope="module")
def packed(demo, tmp_path_factory):
    """The demonstration's 4-call student as a model called ``tiny``."""
    folder = tmp_path_factory.mktemp("zoo") / "tiny"
    assert main(["pack", "--workdir", str(demo / "learned-4"), "--out", str(folder)]) == 0
    return folder


def rounded(params):
    return jax.tree.map(lambda p: p.astype(jnp.bfloat16).astype(p.dtype), params)


def drawn(method, data, count=4):
    noise = jax.random.normal(jax.random.key(0), (count, *data.image_shape))
    keys = jax.random.split(jax.random.key(1), count)
    return method.sampler(noise, keys, condition_of(data, np.arange(count)))


def test_its_samples_are_the_runs_with_rounded_parameters(demo, packed, quick_compile):
    config = read_config(demo / "learned-4")
    run = load_teacher(config["teacher"])
    setting, stages, params = load_stages(config, demo / "learned-4", run)
    rows_of_run = rows(build.evaluate(config), setting, stages, [rounded(p) for p in params])
    model = load_model(packed)
    methods = model.methods()
    assert [m.name for m in methods] == [*(m.name for m, _ in rows_of_run), "teacher"]
    with quick_compile():
        for ours, (theirs, _) in zip(methods, rows_of_run, strict=False):
            np.testing.assert_array_equal(drawn(ours, model.teacher.data), drawn(theirs, run.data))
    assert jax.tree.all(
        jax.tree.map(
            lambda a, b: bool((a == b).all()),
            model.teacher.denoiser.params,
            rounded(run.denoiser.params),
        )
    )


def test_neither_data_nor_run_are_needed_and_no_folder_is_named(
    demo, packed, tmp_path, monkeypatch, quick_compile
):
    shutil.copytree(packed, tmp_path / "model")
    monkeypatch.setattr(build, "source", lambda config: pytest.fail("data are asked for"))
    out = tmp_path / "four.png"
    with quick_compile():
        words = ["sample", "--model", str(tmp_path / "model"), "--count=4", f"--out={out}"]
        assert main(words) == 0
        first = np.asarray(Image.open(out))
        assert main([*words, "--style=7"]) == 0
    assert (np.asarray(Image.open(out)) != first).any()
    facts = json.loads((packed / "model.json").read_text())
    command = facts.pop("command")  # of the evaluation, as it was typed
    assert str(demo) not in json.dumps(facts)
    assert str(demo) not in (packed / "README.md").read_text().replace(command, "")


def test_the_card_tells_data_seconds_and_figures(demo, packed):
    text, facts = (
        (packed / "README.md").read_text(),
        json.loads((packed / "model.json").read_text()),
    )
    assert facts["student"]["train_seconds"] > 0 and facts["teacher"]["parameters"] > 1000
    assert "8×8, 1 channel, of digits (1,797 images)" in text
    assert f"{facts['teacher']['parameters']:,} parameters, trained for" in text
    results = json.loads((demo / "teacher" / "results.json").read_text())
    assert facts["rows"] == results["rows"] and "| learned-4 | 4 |" in text
    assert (
        f"Measured by `{results['command']}` on {results['device']} (git {results['git']}" in text
    )
    assert facts["rounded"] and "before the rounding to bfloat16; " in text
    assert "before the rounding" not in card(facts | {"rounded": False})
    assert "- The teacher's sampler: name serial, step ddim, steps" in text


def test_rows_of_several_machines_are_told_apart_in_the_card(packed):
    facts = json.loads((packed / "model.json").read_text())
    teachers, student = [r for r in facts["rows"] if "train_seconds" not in r], "learned-4"
    (own,) = [r for r in facts["rows"] if r["method"] == student]
    elsewhere = {"command": "mine", "device": "2 x GPU", "git": "abc"}
    rows = [*(r | elsewhere for r in teachers), own | {"train_seconds": 1.0}]
    text = card(facts | {"rows": rows})
    names = ", ".join(r["method"] for r in teachers)
    assert f"- {names}: by `mine` on 2 x GPU (git abc, jax {facts['jax']})\n" in text
    (line,) = [line for line in text.splitlines() if line.startswith(f"- {student}: by ")]
    assert line.endswith(
        f"(git {facts['git']}, jax {facts['jax']}), before the rounding to bfloat16"
    )


def test_parameters_of_bfloat16_are_not_rounded():
    exact = {"a": np.float32([1.0, -0.5, 3.0]), "b": np.float32([2.0**-100, 0.0])}
    assert fits(exact) and not fits(exact | {"b": np.float32([1 / 3])})


def test_a_shipped_model_is_known_by_its_name(packed, monkeypatch, capsys):
    monkeypatch.setattr(zoo, "SHIPPED", packed.parent)
    assert zoo.shipped() == ["tiny"]
    assert load_model("tiny").facts["name"] == "tiny"
    assert main(["models"]) == 0
    assert "8x8x1 of digits, draft_refine" in capsys.readouterr().out
    with pytest.raises(UserError, match="--model huge: no such model; shipped: tiny; or a folder"):
        load_model("huge")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / "student-0.npz").unlink(), r"student-0.npz does not exist"),
        (lambda f: (f / "teacher.npz").write_bytes(b"no"), r"teacher.npz is not a whole npz"),
        (lambda f: shutil.copy(f / "student-0.npz", f / "teacher.npz"), "holds another network"),
        (lambda f: (f / "model.json").write_text("{}"), "is not a model's: KeyError"),
        (lambda f: (f / "model.json").write_text("{"), "model.json cannot be read"),
        (lambda f: np.savez(f / "examples.npz"), "conditions of digits: there is no label"),
    ],
)
def test_damage_is_named(packed, tmp_path, harm, message):
    folder = Path(shutil.copytree(packed, tmp_path / "model"))
    harm(folder)
    with pytest.raises(UserError, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method=best"], "--method best: choose among learned-4, teacher"),
        (["--style=ten"], "have no class 'ten'; known: 0, 1"),
        (["--prompt=one"], "trained without captions"),
        (["--out=a.jpg"], "its name must end in .png"),
        (["--workdir=here"], "unknown flag --workdir"),
    ],
)
def test_what_it_cannot_do_is_refused(packed, capsys, flags, message):
    assert main(["sample", "--model", str(packed), *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_teacher_alone_may_be_packed(demo, tmp_path):
    assert main(["pack", "--workdir", str(demo / "teacher"), "--out", str(tmp_path / "t")]) == 0
    assert [m.name for m in load_model(tmp_path / "t").methods()] == ["teacher"]


def test_packing_needs_a_run(tmp_path, capsys):
    assert main(["pack", "--workdir", str(tmp_path), "--out", str(tmp_path / "t")]) == 2
    assert str(tmp_path) in capsys.readouterr().err and not (tmp_path / "t").exists()


def test_hybrids_that_another_run_refines_are_left_out_of_a_model(capsys):
    config = digits_distilled.get_config("method=lcm")
    assert without_refiner(config)["evaluate"]["hybrid"]["rounds"] == [1, 2, 4]
    assert not capsys.readouterr().err
    config.evaluate.hybrid.refiner = "runs/tuned"
    assert without_refiner(config)["evaluate"]["hybrid"] == {}
    assert "their refiner is another run's" in capsys.readouterr().err
    assert config.evaluate.hybrid.rounds == (1, 2, 4)
