"""`drf evaluate` from end to end, on a teacher that has hardly been trained."""

import fcntl
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drf_jax import build
from drf_jax.cli.main import main
from drf_jax.configs import digits
from drf_jax.data.conditioning import condition_of
from drf_jax.data.digits import Digits
from drf_jax.data.image import to_uint8
from drf_jax.errors import UserError
from drf_jax.evaluation import extractor as extractors
from drf_jax.evaluation import resumable
from drf_jax.evaluation.features import load_classifier, save_classifier
from drf_jax.evaluation.frechet import frechet_between
from drf_jax.evaluation.statistics import statistics_of
from drf_jax.networks.classifier import rescale_features
from drf_jax.noise import initial_noise, sample_keys
from drf_jax.runs import compare
from drf_jax.runs import evaluate as module
from drf_jax.runs.evaluate import evaluate, table
from drf_jax.runs.keys import SAMPLE, root_key
from drf_jax.runs.statistics import data_statistics
from drf_jax.runs.teacher import load_teacher, train_teacher
from drf_jax.runs.trained import Trained
from drf_jax.sampling.loops import COMPILED
from drf_jax.sampling.method import Method
from drf_jax.turns import VARIABLE

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
QUICK = ("fd", "kid", "precision_recall", "density_coverage")


def config(**changes):
    made = digits.get_config("smoke")
    made.data.limit = 40
    made.network.update(width=16, depth=1, heads=2)
    made.optimizer.warmup = 1
    made.train.update(steps=2, batch_size=8, log_every=2, checkpoint_every=2)
    made.mesh.data = 1
    made.sampler.steps = 4
    made.evaluate.methods = {
        "ddim-2": {"name": "serial", "steps": 2},
        "driffusion-conservative-2": {
            "name": "driffusion",
            "mode": "conservative",
            "steps": 4,
            "drafts": 3,
        },
    }
    made.evaluate.update(samples=24, batch_size=8, feature_steps=20, repeats=1)
    made.evaluate.update(changes)
    return made


@pytest.fixture(scope="module", autouse=True)
def quickly(quick_compile):
    with quick_compile():
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A teacher's run with its feature network, evaluated in full."""
    workdir = tmp_path_factory.mktemp("teacher")
    train_teacher(config(), workdir)
    evaluate(config(metrics=QUICK, seeds=2), workdir, "drf evaluate")
    return workdir


def results(path):
    """A results file without the times, which differ from run to run."""
    stored = json.loads(path.read_text())
    for row in stored["rows"]:
        assert row.pop("ms_batch1") > 0
    return stored


def samples_file(run, name, seed):
    (file,) = (run / "samples").glob(f"{name}-{seed}-*.f32")
    return file


def fresh_copy(run, tmp_path):
    """The run before any evaluation."""
    for name in ("config.json", "checkpoints", "features.npz"):
        (tmp_path / name).symlink_to(run / name)
    return tmp_path


def test_rows_have_every_metric_as_mean_and_deviation(run):
    rows = results(run / "results.json")["rows"]
    assert [row["method"] for row in rows] == ["ddim-2", "driffusion-conservative-2"]
    for row in rows:
        for key in ("fd", "kid", "precision", "recall", "density", "coverage", "rmse_to_teacher"):
            assert key in row and row[f"{key}_sd"] >= 0
        assert (row["samples"], row["seed"], row["seeds"]) == (24, 0, 2)
        assert row["fd"] > 0 and row["fd_sd"] > 0 and row["psnr_to_teacher"] > 0
    assert " ± " in table(rows) and "| KID |" in table(rows)


def test_the_mean_is_that_of_its_seeds(run):
    classifier = load_classifier(run / "features.npz")
    images = np.stack([Digits()[i]["image"] for i in range(40)])
    real = statistics_of(classifier.extract(images))
    fds, rmses = [], []
    for seed in (0, 1):
        samples, teacher = (
            np.fromfile(samples_file(run, name, seed), np.float32).reshape(24, 8, 8, 1)
            for name in ("ddim-2", "teacher")
        )
        fds.append(frechet_between(statistics_of(classifier.extract(to_uint8(samples))), real))
        rmses.append(np.sqrt(np.square(samples - teacher).mean((1, 2, 3))).mean())
    row = results(run / "results.json")["rows"][0]
    assert row["fd"] == pytest.approx(np.mean(fds), rel=1e-4)
    assert row["fd_sd"] == pytest.approx(abs(fds[0] - fds[1]) / np.sqrt(2), rel=1e-2)
    assert row["rmse_to_teacher"] == pytest.approx(np.mean(rmses), rel=1e-4)


def test_an_evaluation_that_was_killed_gives_the_same_results(run, tmp_path, monkeypatch):
    workdir, calls = fresh_copy(run, tmp_path), []
    generate = resumable.generate

    def dying(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return generate(*args)

    monkeypatch.setattr(resumable, "generate", dying)
    changed = config(metrics=QUICK, seeds=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate(changed, workdir, "drf evaluate")
    assert not (workdir / "results.json").exists()
    evaluate(changed, workdir, "drf evaluate")
    assert len(calls) == 4 + 3  # two methods and the teacher, two seeds, three of six made before
    assert results(workdir / "results.json") == results(run / "results.json")


def test_a_second_evaluation_repeats_nothing(run, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("made again")

    before = (run / "results.json").read_text()
    monkeypatch.setattr(resumable, "generate", never)
    monkeypatch.setattr(module, "make_reference", never)
    evaluate(config(metrics=QUICK, seeds=2), run, "drf evaluate")
    assert (run / "results.json").read_text() == before


def test_methods_of_one_name_do_not_share_samples(run, tmp_path):
    workdir = fresh_copy(run, tmp_path)

    def evaluated(steps, path):
        changed = config()
        changed.evaluate.methods = {"ddim": {"name": "serial", "steps": steps}}
        evaluate(changed, workdir, "drf evaluate", path)
        written = json.loads((path or workdir / "results.json").read_text())
        return workdir / "samples" / written[module.FILES]["ddim"]

    two = evaluated(2, tmp_path / "2.json")
    before = two.read_bytes()
    three = evaluated(3, tmp_path / "3.json")
    assert two.read_bytes() == before == samples_file(run, "ddim-2", 0).read_bytes()
    assert three.read_bytes() != before
    assert evaluated(2, None) == two and not three.exists()  # alone, nothing else is kept


def test_eight_devices_make_the_same_samples(run, tmp_path):
    changed = config()
    changed.evaluate.methods["ddim-4"] = {"name": "serial", "steps": 4}
    changed.mesh.data = 8
    rows = evaluate(changed, fresh_copy(run, tmp_path), "")
    # ddim-4 is the teacher's own sampler, so that is not sampled twice.
    same = {"ddim-4": "teacher", "ddim-2": "ddim-2"}
    same["driffusion-conservative-2"] = "driffusion-conservative-2"
    made = tmp_path / "samples"
    stems = {path.stem.rpartition("-")[0] for path in made.iterdir()}
    assert stems == {f"{name}-0" for name in same}
    for eight, one in same.items():
        eight, one = (
            np.fromfile(samples_file(folder, name, 0), np.float32)
            for folder, name in ((tmp_path, eight), (run, one))
        )
        np.testing.assert_allclose(eight, one, atol=2e-5)
    assert rows[0]["rmse_to_teacher"] == 0 and "psnr_to_teacher" not in rows[0]


def test_costs_that_depend_on_the_sample_are_means_over_the_samples(run, tmp_path):
    changed = config(seeds=2)
    section = {"name": "paradigms", "steps": 6, "window": 3, "tolerance": 0.2}
    changed.evaluate.methods = {"paradigms-window-3": section}
    (row,) = evaluate(changed, fresh_copy(run, tmp_path), "")

    teacher = load_teacher(run)
    method = build.method("p", section, teacher.denoiser, teacher.data, COMPILED, "p")
    costs = []
    for seed in (0, 1):
        keys = sample_keys(root_key(seed, SAMPLE), np.arange(24))
        cond = condition_of(teacher.data, np.arange(24))
        costs.append(method.cost(initial_noise(keys, (8, 8, 1)), keys, cond))
    calls, evaluated = np.concatenate(costs).mean(0)
    assert row["sequential_calls"] == pytest.approx(calls, rel=1e-6) and 2 < calls < 6
    assert row["network_evaluations"] == pytest.approx(evaluated, rel=1e-6)
    assert (row["tolerance"], row["drafts"]) == (0.2, 3)


def test_other_metrics_are_measured_on_the_same_samples(run, tmp_path, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("made again")

    monkeypatch.setattr(resumable, "generate", never)
    path = tmp_path / "results" / "r.json"
    rows = evaluate(config(metrics=("kid",), samples=20), run, "", path)
    assert "fd" not in rows[0] and "kid" in rows[0] and rows[0]["samples"] == 20
    assert results(path)["features"]["feature_space"] == "classifier-64"
    assert [p.name for p in path.parent.iterdir()] == ["r.json"]
    assert "FD" not in table(rows)


def test_statistics_may_come_from_a_file_that_fits(run, tmp_path):
    file = tmp_path / "c.py"
    file.write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config():\n"
        "    return ConfigDict({'data': {'name': 'digits', 'limit': 40}})\n"
    )
    out = tmp_path / "s.npz"
    argv = ["stats", f"--config={file}", f"--out={out}", f"--features={run}/features.npz"]
    assert main(argv) == 0
    rows = evaluate(config(statistics=str(out), seeds=2), run, "", tmp_path / "r.json")
    from_data = results(run / "results.json")["rows"]
    assert [r["fd"] for r in rows] == pytest.approx([r["fd"] for r in from_data], rel=1e-9)

    classifier, other = load_classifier(run / "features.npz"), tmp_path / "other.npz"
    scaled = rescale_features(classifier.params, 2.0)
    save_classifier(other, replace(classifier, params=scaled))
    with pytest.raises(UserError, match=r"s\.npz: .* cannot be compared: weights_sha256"):
        evaluate(config(statistics=str(out), features=str(other)), run, "", tmp_path / "r.json")


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"metrics": ("fid",)}, "metrics: 'fid' is unknown; known: fd, kid"),
        ({"seeds": 0}, "evaluate.seeds = 0: must be at least 1"),
        ({"feature_space": "vgg"}, "feature_space = 'vgg': choose one of classifier-64"),
        ({"feature_space": "inception-tf1"}, "features is missing: the weights file"),
        ({"judge_features": "x.npz"}, "judge_features: there is no config.evaluate.judge"),
        ({"judge": "vgg"}, "evaluate.judge = 'vgg': choose one of classifier-64"),
        (
            {"judge": "inception-tf1"},
            "judge_features is missing: the weights file of inception-tf1",
        ),
        ({"metrics": ("memorisation",)}, "'digits' has no splits"),
        ({"statistics": "none.npz"}, r"none\.npz does not exist"),
        ({"features": "none.npz"}, r"none\.npz does not exist"),
    ],
)
def test_mistakes_are_named(run, tmp_path, changes, problem):
    with pytest.raises(UserError, match=problem):
        evaluate(config(**changes), run, "", tmp_path / "r.json")


def test_a_feature_network_of_other_images_is_refused(run, tmp_path):
    classifier = load_classifier(run / "features.npz")
    save_classifier(tmp_path / "other.npz", replace(classifier, image_shape=(7, 7, 1)))
    with pytest.raises(UserError, match=r"other\.npz': is for images of shape \(7, 7, 1\)"):
        evaluate(config(features=str(tmp_path / "other.npz")), run, "", tmp_path / "r.json")


class Means:
    """A feature space in place of an Inception: the mean of each row of pixels."""

    feature_space, resize, weights_sha256, provenance = "random-inception", "none", "0", {}

    def extract(self, images, batch_size=64):
        return images.mean((2, 3)).astype(np.float32)


def test_a_judge_takes_fd_once_more_in_another_space(run, tmp_path, monkeypatch):
    monkeypatch.setitem(extractors.EXTRACTORS, "random-inception", lambda path: Means())
    given = config(judge="random-inception", seeds=2)
    rows = evaluate(given, run, "", tmp_path / "r.json")
    real = statistics_of(Means().extract(np.stack([Digits()[i]["image"] for i in range(40)])))
    for row, other in zip(rows, results(run / "results.json")["rows"], strict=True):
        of = lambda seed, name=row["method"]: to_uint8(
            np.fromfile(samples_file(run, name, seed), np.float32).reshape(24, 8, 8, 1)
        )
        fds = [frechet_between(statistics_of(Means().extract(of(seed))), real) for seed in (0, 1)]
        assert row["fd_judge"] == pytest.approx(np.mean(fds), rel=1e-6)
        assert row["fd_judge_sd"] == pytest.approx(np.std(fds, ddof=1), rel=1e-6)
        assert row["judge"] == "random-inception" and "judge" not in other
        assert row["fd"] == pytest.approx(other["fd"], rel=1e-9)
    assert "| FD, judge |" in table(rows)
    found = results(tmp_path / "r.json")
    assert found["features"]["feature_space"] == "classifier-64"

    data_statistics(given.to_dict(), Means(), tmp_path / "s.npz")
    given.evaluate.judge_statistics = str(tmp_path / "s.npz")
    again = evaluate(given, run, "", tmp_path / "again.json")
    assert [r["fd_judge"] for r in again] == pytest.approx([r["fd_judge"] for r in rows], rel=1e-9)
    given.evaluate.judge_statistics = str(run / "features.npz")
    with pytest.raises(UserError, match=r"features\.npz"):
        evaluate(given, run, "", tmp_path / "again.json")


def test_rows_that_another_judge_saw_are_made_anew(run, tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    assert "fd_judge" not in evaluate(config(), run, "", path)[0]

    class Twice(Means):
        weights_sha256 = "1"

        def extract(self, images, batch_size=64):
            return 2 * super().extract(images)

    found = []
    for judge in (Means, Twice):
        monkeypatch.setitem(
            extractors.EXTRACTORS, "random-inception", lambda path, made=judge: made()
        )
        found.append(evaluate(config(judge="random-inception"), run, "", path)[0]["fd_judge"])
        assert results(path)["judge"]["weights_sha256"] == judge.weights_sha256
    assert found[1] == pytest.approx(4 * found[0], rel=1e-6)


def test_a_student_that_looked_through_the_judge_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setitem(extractors.EXTRACTORS, "random-inception", lambda path: Means())
    method = Method("step-distilled-2", lambda noise, keys, cond: noise, 2, 2)
    monkeypatch.setattr(module, "load_distilled", lambda *_: [Trained(method, (), None, "0")])
    given = config(judge="random-inception")
    given.evaluate.students = ("student",)
    with pytest.raises(
        UserError, match=r"step-distilled-2: .* use another in config.evaluate.judge"
    ):
        evaluate(given, run, "", tmp_path / "r.json")


def test_the_fid_experiment_measures_in_any_feature_space(run, tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("fid", EXPERIMENTS / "fid.py")
    fid = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fid)
    monkeypatch.setattr(fid, "load_config", lambda path: config())
    argv = ["--config=c.py", f"--workdir={run}", f"--out={tmp_path}/r.json"]
    assert fid.main([*argv, "--weights=none.pth"]) == 2
    assert "none.pth does not exist" in capsys.readouterr().err

    given = ["--feature_space=classifier-64", f"--weights={run}/features.npz", "--metrics=fd,kid"]
    assert fid.main([*argv, *given, "--samples=16"]) == 0
    stored = results(tmp_path / "r.json")
    assert {row["feature_space"] for row in stored["rows"]} == {"classifier-64"}
    assert len(stored["rows"]) == 2 and stored["rows"][0]["samples"] == 16
    assert "| KID |" in capsys.readouterr().out

    monkeypatch.setitem(extractors.EXTRACTORS, "random-inception", lambda path: Means())
    assert fid.main([*argv, "--smoke"]) == 0
    (row,) = results(tmp_path / "r.json")["rows"]
    assert (row["feature_space"], row["samples"]) == ("random-inception", 8)
    assert results(run / "results.json")["rows"][0]["samples"] == 24  # drf evaluate's own


def test_compiled_side_by_side_the_rows_are_the_same(run, tmp_path, monkeypatch):
    copy = fresh_copy(run, tmp_path)
    monkeypatch.setattr(module, "workers", lambda cores: 2)
    given, compile_them = [], module.compile_side_by_side
    monkeypatch.setattr(
        module, "compile_side_by_side", lambda *a: given.append(a) or compile_them(*a)
    )
    evaluate(config(metrics=QUICK, seeds=2), copy, "drf evaluate")
    assert [len(calls) for calls, _ in given] == [4]  # a batch and a sample of each method
    assert results(copy / "results.json") == results(run / "results.json")


def test_beside_others_it_compiles_at_once_and_has_one_turn_for_all_that_is_the_accelerators(
    run, tmp_path, monkeypatch
):
    copy, turns, seen = fresh_copy(run, tmp_path), tmp_path / "turns", []
    monkeypatch.setenv(VARIABLE, str(turns))

    def has_turn():
        with turns.open("a") as mine:
            try:
                fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def watched(where, name):
        act = getattr(where, name)
        note = lambda *a, **k: seen.append((name, has_turn())) or act(*a, **k)
        monkeypatch.setattr(where, name, note)

    def never(*_):
        raise AssertionError("with threads of its own")

    monkeypatch.setattr(module, "compile_side_by_side", never)
    watched(module, "generate")
    watched(resumable, "generate")
    watched(module, "state_features")
    watched(module, "make_reference")
    watched(compare, "numbers")
    rows = evaluate(config(metrics=QUICK, seeds=2), copy, "drf evaluate")
    names = [name for name, _ in seen]
    assert [held for _, held in seen] == [False] * 3 + [True] * (len(seen) - 7) + [False] * 4
    assert names[-4:] == ["numbers"] * 4 == [name for name in names if name == "numbers"]
    assert names.count("state_features") == 4  # two methods, two seeds
    assert names.count("make_reference") == 1
    assert not has_turn()
    stored = results(run / "results.json")["rows"]
    assert [{key: r[key] for key in s} for r, s in zip(rows, stored, strict=True)] == stored
    assert not any("ms_batch1" in r for r in rows)
