"""The table of all rivals: what is offered, what a call goes on from, and a whole run in small."""

import dataclasses
import json
import shutil
import sys
import threading

import jax
import numpy as np
import pytest

from drf_jax import build
from drf_jax.cli.config_file import load_config
from drf_jax.errors import UserError
from drf_jax.evaluation.report import row
from drf_jax.runs.processes import Deadline
from drf_jax.runs.teacher import load_teacher
from drf_jax.zoo.model import load_model


def test_every_data_set_offers_every_distilled_method(rivals, options):
    students = sys.modules["rival_options"].STUDENTS
    assert {method.partition(",")[0] for method, _ in students.values()} == set(build.METHODS)
    for data in ("digits", "fashion_mnist32", "emoji64", "cifar10"):
        offered = rivals.offered(dataclasses.replace(options, data=data, smoke=False))
        assert offered.keys() == {*students, "hybrid-tuned"}
    assert offered["lcm"].changes["evaluate.calls"] == (1, 2, 4, 8)
    assert offered["adversarial"].changes["method.features"].endswith("adversary.npz")


def test_a_pair_has_half_of_the_seconds_each(rivals, options, monkeypatch):
    seen, loop = [], sys.modules["rival_loop"]
    monkeypatch.setattr(loop, "train", lambda *args: seen.append(args))
    monkeypatch.setattr(loop, "score", lambda *_: None)
    student = rivals.offered(options)["hybrid-tuned"]
    loop.make_student(options, rivals.Table(options), options.runs, "hybrid-tuned", student, {})
    refiner, drafter = seen
    names = [load_config(each[3]).method.name for each in (refiner, drafter)]
    assert names == ["pfgmpp", "lcm"]
    assert [each[6] for each in (refiner, drafter)] == [options.seconds / 2] * 2
    assert drafter[4]["evaluate.hybrid.refiner"] == str(refiner[5])
    assert "evaluate.hybrid.refiner" not in refiner[4]


def test_the_table_goes_on_where_it_stopped(rivals, options):
    made = rivals.Table(options)
    made.rows["lcm-1"] = row(method="lcm-1", sequential_calls=1, fd=2.0)
    made.rows["ddim-8"] = row(method="ddim-8", sequential_calls=8, fd=1.0)
    made.note("budget", "lcm", {"updates": 7})
    made.note("failed", "step-4", "no")
    made.note("failed", "step-4", None)
    again = rivals.Table(options)
    assert list(again.rows) == ["ddim-8", "lcm-1"]  # in the order of the families
    assert again.facts == {
        "budget": {"lcm": {"updates": 7}},
        "made": {},
        "timed": {},
        "failed": {},
        "features": {},
        "judge": {},
        "teacher": {},
    }
    with pytest.raises(UserError, match=r"--seconds=2\.0, not 3\.0"):
        rivals.Table(dataclasses.replace(options, seconds=3.0))


def test_rows_of_another_machine_keep_its_name(rivals, options, monkeypatch):
    jax.devices()  # reads XLA_FLAGS once
    monkeypatch.setenv("XLA_FLAGS", "--xla_a")
    monkeypatch.setenv("DRF_COMMIT", "there")
    made = rivals.Table(options)
    made.rows["lcm-1"] = row(method="lcm-1", sequential_calls=1, fd=2.0)
    made.save()
    monkeypatch.setenv("XLA_FLAGS", "--xla_b")
    monkeypatch.setenv("DRF_COMMIT", "here")
    read = lambda: json.loads(made.path.read_text())
    rivals.Table(options).save()  # nothing was made here
    assert (read()["git"], read()["config"]["xla_flags"]) == ("there", "--xla_a")
    again = rivals.Table(options)
    again.rows["ddim-8"] = row(method="ddim-8", sequential_calls=8, fd=1.0)
    again.save()
    assert (read()["git"], read()["config"]["xla_flags"]) == ("here", "--xla_b")
    assert [r.get("git") for r in read()["rows"]] == [None, "there"]


def test_other_seeds_are_other_tables_of_the_same_trainings(rivals, options, monkeypatch):
    made = rivals.Table(options)
    made.save()
    stored = json.loads(made.path.read_text())
    assert stored["config"].pop("seed") == 0  # as in tables of before there were others
    made.path.write_text(json.dumps(stored))
    rivals.Table(options)
    other = rivals.Table(dataclasses.replace(options, seed=2))
    assert other.path.name == "rivals_digits_seed2.json"
    assert "--seed=2" in other.command_of("lcm").split()
    assert not any("--seed" in word for word in made.command_of("lcm").split())
    made.path.rename(other.path)
    with pytest.raises(UserError, match="--seed=0, not 2"):
        rivals.Table(dataclasses.replace(options, seed=2))
    seen, loop = [], sys.modules["rival_loop"]
    monkeypatch.setattr(
        loop, "train", lambda o, made, name, spec, changes, *_: seen.append(changes)
    )
    monkeypatch.setattr(loop, "score", lambda *_: None)
    student = rivals.offered(options)["step-4"]
    loop.make_student(dataclasses.replace(options, seed=2), made, options.runs, "a", student, {})
    assert seen[0]["seed"] == 2


def test_the_command_of_a_row_fixes_its_updates(rivals, options):
    made = rivals.Table(options)
    made.facts["budget"] = {"teacher": {"updates": 50}, "lcm": {"updates": 7}}
    common = "python experiments/rivals.py --data=digits --seconds=2 --smoke --teacher_updates=50"
    assert made.command_of("lcm") == f"{common} --only=lcm --updates=7"
    assert made.command_of("training-free-srds") == f"{common} --only=training-free-srds"


def test_a_teacher_of_given_seconds_is_the_first_of_its_folder(rivals, options, monkeypatch):
    asked, runs = [], sys.modules["rival_runs"]
    monkeypatch.setattr(runs, "run_logged", lambda words, *_: asked.append(words))
    spec = options.spec()
    runs.train(options, rivals.Table(options), "teacher", spec, {}, options.runs / "t", 5.0, 0)
    ((_, script, config, folder, seconds, *_),) = asked
    assert (folder, seconds) == (str(options.runs / "t"), "5.0") and script.endswith("train.py")
    assert json.loads((options.runs / "teacher.config.json").read_text())["task"] == "teacher"
    assert config == str(options.runs / "teacher.config.json")


def test_rows_are_judged_by_whom_was_asked_for(rivals, options, tmp_path, monkeypatch):
    runs = sys.modules["rival_runs"]
    monkeypatch.setattr(runs, "run_logged", lambda *_: None)
    for judge in ("", "efficientnet-lite0"):
        o = dataclasses.replace(options, judge=judge, smoke=False, teacher="digits")
        made = rivals.Table(o)
        runs.score(o, made, runs.make_teacher(o, made), "lcm", {}, [])
        asked = json.loads(runs.asked_of(o, "lcm").read_text())
        assert asked["evaluate"]["judge"] == judge and made.facts["made"] == {"lcm": True}
        told = made.command_of("lcm").split()
        assert (f"--judge={judge}" in told) == bool(judge) and "--only=lcm" in told


def test_a_table_has_one_judge(rivals, options):
    made = rivals.Table(options)
    made.rows["lcm-1"] = row(method="lcm-1", sequential_calls=1, fd=2.0)
    made.same("judge", {"weights_sha256": "a"})
    made.same("judge", {"weights_sha256": "a"})
    with pytest.raises(UserError, match="were made with the judge"):
        made.same("judge", {"weights_sha256": "b"})


def test_a_teacher_that_comes_with_the_library_is_that_teacher(rivals, options):
    o = dataclasses.replace(options, smoke=False, teacher="digits")
    made = rivals.Table(o)
    for _ in range(2):  # the second time from what the first one kept
        folder = sys.modules["rival_runs"].make_teacher(o, made)
        assert load_teacher(folder).sha256 == load_model("digits").teacher.sha256
    assert "--teacher=digits" in made.command_of("lcm").split()


def test_a_table_of_even_steps_is_not_gone_on_with_on_another_grid(rivals, options):
    runs, made = sys.modules["rival_runs"], rivals.Table(options)
    teacher = load_model("digits").teacher
    assert runs.facts_of(teacher) == {"sha256": teacher.sha256}
    made.same("teacher", runs.facts_of(teacher))
    made.rows["lcm-1"] = row(method="lcm-1", sequential_calls=1, fd=2.0)
    sampler = teacher.config["sampler"] | {"grid": "shifted:4"}
    other = dataclasses.replace(teacher, config={**teacher.config, "sampler": sampler})
    with pytest.raises(UserError, match=r"with the teacher .*not .*'grid': 'shifted:4'"):
        made.same("teacher", runs.facts_of(other))


def test_students_that_look_through_a_classifier_share_one(rivals, options):
    looks = sys.modules["rival_options"].looks_through_classifier

    def config(name, **changes):
        made = load_config(options.spec("distilled", f"method={name}"))
        made.method.update(changes)
        return made

    assert looks(config("adversarial")) and looks(config("step", adversarial_weight=0.1))
    assert looks(config("consistency_training", perceptual_weight=1.0))
    assert not looks(config("step")) and not looks(config("lcm"))
    given = sys.modules["rival_options"].offered(options)
    asked = {name for name, student in given.items() if "method.features" in student.changes}
    assert asked == {"adversarial"}


def test_an_unknown_student_is_refused(rivals, options):
    options = dataclasses.replace(options, only=("dino",))
    with pytest.raises(UserError, match="--only dino: choose among learned-4"):
        rivals.rivals(options, rivals.Table(options))


def test_a_failed_training_is_named_and_the_others_go_on(rivals, options, monkeypatch):
    def train(o, made, name, *_):
        if name == "bad":
            raise UserError("diverged")

    scored, loop = [], sys.modules["rival_loop"]
    student = sys.modules["rival_options"].Student("", {})
    monkeypatch.setattr(loop, "train", train)
    monkeypatch.setattr(loop, "score", lambda o, made, teacher, name, *_: scored.append(name))
    made = rivals.Table(options)
    for name in ("bad", "good"):
        loop.make_student(options, made, options.runs, name, student, {})
    assert scored == ["good"] and made.facts["failed"] == {"bad": "diverged"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_needs_no_training_is_made_beside_trainings_or_before(
    rivals, options, monkeypatch, jobs
):
    loop, done, order = sys.modules["rival_loop"], threading.Event(), []

    def train(o, made, name, *_):
        assert done.wait(20), "the other rows wait for this training"
        order.append(name)

    def score(o, made, teacher, name, *_):
        order.append(name)
        made.facts["made"][name] = []
        if name == f"{rivals.FREE}-srds":
            done.set()

    for name in ("make_teacher", "make_features", "time_alone"):
        monkeypatch.setattr(loop, name, lambda *_: options.runs)
    monkeypatch.setattr(loop, "train", train)
    monkeypatch.setattr(loop, "score", score)
    only = ("lcm", f"{rivals.FREE}-serial", f"{rivals.FREE}-srds")
    o = dataclasses.replace(options, only=only, jobs=jobs)
    assert rivals.rivals(o, rivals.Table(o)) == []
    assert order == [f"{rivals.FREE}-serial", f"{rivals.FREE}-srds", "lcm", "lcm"]


@pytest.mark.parametrize("timing", [True, False])
def test_milliseconds_can_be_left_to_a_later_call(rivals, options, monkeypatch, timing):
    loop, timed = sys.modules["rival_loop"], []
    for name in ("make_teacher", "make_features"):
        monkeypatch.setattr(loop, name, lambda *_: options.runs)
    monkeypatch.setattr(loop, "score", lambda *_: None)
    monkeypatch.setattr(loop, "time_alone", lambda *_: timed.append(True))
    o = dataclasses.replace(options, only=(f"{rivals.FREE}-serial",), jobs=2, timing=timing)
    rivals.rivals(o, rivals.Table(o))
    assert bool(timed) == timing


@pytest.mark.slow
def test_a_run_stops_in_time_goes_on_elsewhere_and_is_published(rivals, options, tmp_path):
    options = dataclasses.replace(options, only=("lcm", rivals.FREE), jobs=2)
    made = rivals.Table(options)
    kinds = [
        f"{rivals.FREE}-{kind}"
        for kind in ("serial", "multistep", "paradigms", "srds", "driffusion")
    ]
    late = dataclasses.replace(options, deadline=Deadline(0.0))
    assert rivals.rivals(late, made) == ["lcm", *kinds]
    assert rivals.main(options, to_publish=False) == 0
    found = json.loads(made.path.read_text())
    methods = [r["method"] for r in found["rows"]]
    assert {"ddim-6", "srds-6", "lcm-1", "lcm-2", "lcm-4", "lcm-8"} < set(methods)
    assert all(r["ms_batch1"] > 0 for r in found["rows"])
    assert set(found["timed"]) == set(found["made"]) == {"lcm", *kinds}
    seconds = [r["train_seconds"] for r in found["rows"] if r["method"].startswith("lcm")]
    assert 0 < seconds[0] < 20 and len(set(seconds)) == 1
    with np.load(tmp_path / "pictures.npz") as pictures:
        assert set(pictures.files) == set(methods)
    # On a bare machine, with OUT alone, nothing is left to do.
    bare = dataclasses.replace(options, runs=tmp_path / "bare")
    assert rivals.main(bare, to_publish=False) == 0
    assert not (bare.runs / "lcm").exists() and (bare.runs / "teacher").exists()
    root = tmp_path / "root"
    assert rivals.main(options, to_publish=True, root=root) == 0
    for name, file in (("rivals_digits.json", made.path), ("rivals_digits.npz", "pictures.npz")):
        assert (root / "results" / name).read_bytes() == (tmp_path / file).read_bytes()
    assert (root / "docs" / "pictures" / "rivals_digits_samples.png").exists()
    # With what is published alone, and the same teacher, nothing is left to do, either.
    out = tmp_path / "elsewhere"
    own = {"teacher": str(tmp_path / "teacher"), "out": out, "runs": out / "runs"}
    elsewhere = dataclasses.replace(options, published=True, **own)
    shutil.copy(tmp_path / "features.npz", tmp_path / "teacher")  # as a model has it
    assert rivals.main(elsewhere, to_publish=False, root=root) == 0
    assert not (out / "runs" / "lcm").exists()
    assert json.loads((out / made.path.name).read_text())["rows"] == found["rows"]


def test_what_is_published_is_where_another_machine_begins(rivals, options, tmp_path):
    here = dataclasses.replace(options, published=True)
    with pytest.raises(UserError, match=r"--published: .*rivals_digits\.json does not exist"):
        rivals.begin(here, tmp_path / "results")
    made = rivals.Table(options)
    made.rows["lcm-1"] = row(method="lcm-1", sequential_calls=1, fd=2.0)
    made.save()
    table = sys.modules["rival_table"]
    table.keep_picture(options, "lcm-1", np.zeros((4, 8, 8, 1)))
    rivals.publish(made, tmp_path / "results")
    there = dataclasses.replace(here, out=tmp_path / "there")
    rivals.begin(there, tmp_path / "results")
    assert rivals.Table(there).rows == rivals.Table(options).rows
    with np.load(table.pictures_of(there)) as pictures:
        assert pictures["lcm-1"].shape == (4, 8, 8, 1)
    # What is there already stays.
    again = rivals.Table(there)
    again.rows["ddim-8"] = row(method="ddim-8", sequential_calls=8, fd=1.0)
    again.save()
    rivals.begin(there, tmp_path / "results")
    assert list(rivals.Table(there).rows) == ["ddim-8", "lcm-1"]


@pytest.mark.parametrize("kind", ["features", "teacher"])
def test_rows_of_another_teacher_or_classifier_are_no_comparison(rivals, options, kind):
    made = rivals.Table(options)
    made.same(kind, {"seed": 0, "floor_fd": 0.5})
    made.same(kind, {"seed": 1, "floor_fd": 0.5})  # there are no rows yet
    made.rows["lcm-1"] = row(method="lcm-1", sequential_calls=1, fd=2.0)
    made.save()
    again = rivals.Table(options)
    again.same(kind, {"seed": 1, "floor_fd": 0.5 + 1e-13})  # the same, summed in another order
    for other in ({"seed": 2, "floor_fd": 0.5}, {"seed": 1, "floor_fd": 0.501}, {"seed": 1}):
        with pytest.raises(UserError, match=rf"with the {kind} {{'seed': 1, .*}}, not {{'seed': "):
            again.same(kind, other)


@pytest.fixture
def uneven(rivals, options):
    """A table of 60 s a student in which one took half of them, one a tenth more, and one was told its updates."""
    made = rivals.Table(dataclasses.replace(options, smoke=False, seconds=60.0))
    for name, method, took in (
        ("lcm", "lcm-4", 30.0),
        ("step-4", "step-distilled-4", 66.0),
        ("pfgmpp", "pfgmpp-4", 9.0),
    ):
        budget = {"updates": 7} if name == "pfgmpp" else {"updates": 7, "seconds": 60.0}
        made.facts["budget"][name], made.facts["made"][name] = budget, True
        made.rows[method] = row(
            method=method,
            sequential_calls=4,
            fd=1.0,
            train_seconds=took,
            command=made.command_of(name),
        )
    made.save()
    return made


def test_a_table_of_unequal_seconds_is_not_published(rivals, uneven, tmp_path):
    with pytest.raises(UserError, match=r"lcm took 30 s, not 60; .* --again=lcm$"):
        rivals.publish(uneven, tmp_path)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("data", "grid"), [("digits", "uniform"), ("emoji64", "shifted:4")])
def test_samplers_without_a_training_walk_the_grid_of_the_data(rivals, options, data, grid):
    runs = sys.modules["rival_runs"]
    found = runs.free_methods(dataclasses.replace(options, data=data))
    assert {m["grid"] for kind in found.values() for m in kind.values()} == {grid}


def test_a_teacher_of_another_grid_than_its_config_is_refused(rivals, options, monkeypatch):
    runs, given = sys.modules["rival_runs"], dataclasses.replace(options, teacher="digits")
    monkeypatch.setattr(runs, "grid_of", lambda o: "shifted:4")
    with pytest.raises(
        UserError, match=r"teacher digits samples on the grid 'uniform', .* 'shifted:4'"
    ):
        runs.make_teacher(given, rivals.Table(given))


def test_a_student_is_made_again_from_nothing(rivals, uneven):
    folder = uneven.options.runs / "lcm"
    folder.mkdir(parents=True)
    measured = uneven.options.runs / "evaluation" / "lcm.json"
    measured.parent.mkdir()
    measured.write_text("{}")
    sys.modules["rival_seconds"].forget(uneven, ("lcm",))
    assert not folder.exists() and not measured.exists()
    again = rivals.Table(uneven.options)
    assert again.rows.keys() == {"step-distilled-4", "pfgmpp-4"}
    assert again.facts["made"].keys() == {"step-4", "pfgmpp"}
    assert sys.modules["rival_seconds"].uneven(again) == {}
    with pytest.raises(UserError, match=r"--again=lcm: .* has pfgmpp, step-4"):
        sys.modules["rival_seconds"].forget(again, ("lcm",))


def test_rows_of_no_shown_depth_have_a_figure_and_no_samples(rivals, options, tmp_path):
    made = rivals.Table(options)
    made.rows["ddim-6"] = row(method="ddim-6", sequential_calls=6, fd=2.0)
    np.savez(options.out / "pictures.npz", **{"ddim-6": np.zeros((8, 8, 8, 1), np.float32)})
    rivals.draw(made, tmp_path)
    assert (tmp_path / "rivals_digits.png").exists()
    assert not (tmp_path / "rivals_digits_samples.png").exists()
