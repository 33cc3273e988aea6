"""The experiment on the long tail, on an untrained teacher."""

import json

import numpy as np
import pytest

from drf_jax import build
from drf_jax.errors import UserError
from drf_jax.evaluation.frechet import frechet_between
from drf_jax.evaluation.statistics import statistics_of

METHODS = {
    "ddim-6": {"name": "serial", "steps": 6},
    "ddim-2": {"name": "serial", "steps": 2},
    "driffusion-conservative-4": {
        "name": "driffusion",
        "mode": "conservative",
        "steps": 6,
        "drafts": 2,
    },
}


@pytest.fixture(scope="module")
def long_tail(experiment):
    return experiment("long_tail")


@pytest.fixture(scope="module")
def bench(long_tail, untrained_teacher, tmp_path_factory):
    spec = build.Evaluate(
        samples=40, batch_size=40, feature_steps=2, real=200, methods=METHODS, metrics=("fd",)
    )
    return long_tail.Tail(untrained_teacher, spec, tmp_path_factory.mktemp("run") / "long_tail")


def test_a_class_is_compared_with_its_own_images(long_tail):
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(30, 3)), np.arange(30) % 3
    labels[labels == 2] = [2] + [1] * 9
    real = {c: statistics_of(rng.normal(c, 1, (20, 3))) for c in (0, 1, 2, 5)}
    found = long_tail.per_class(features, labels, real)
    assert list(found) == [0, 1]  # one sample of class 2, none of class 5
    for c, value in found.items():
        assert value == frechet_between(statistics_of(features[labels == c]), real[c])


def test_the_real_classes_partition_the_data(bench):
    assert sorted(bench.classes) == list(range(10))
    assert sum(each.n for each in bench.classes.values()) == 200
    images = [bench.teacher.data[i] for i in range(200)]
    threes = np.stack([e["image"] for e in images if e["label"] == 3])
    expected = bench.extractor.extract(threes).mean(0)
    np.testing.assert_allclose(bench.classes[3].mean, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_rows_of_the_tail(long_tail, bench):
    made = {}
    for weight in (1.0, 3.0):
        found = long_tail.entries(bench, weight, [])
        assert [entry.method.name for entry in found] == list(METHODS)
        for entry in found:
            made[entry.method.name, weight] = long_tail.tail_row(bench, entry, found[0])
    row, details = made["ddim-6", 1.0]
    assert row["rmse_to_teacher_max"] == 0 and row["guidance"] == 1
    assert 0 <= row["recall_of_teacher"] <= 1
    row, details = made["driffusion-conservative-4", 1.0]
    assert 0 < row["rmse_to_teacher_p50"] <= row["rmse_to_teacher_p99"]
    assert row["rmse_to_teacher_p99"] <= row["rmse_to_teacher_max"]
    assert row["rmse_to_teacher"] < made["ddim-2", 1.0][0]["rmse_to_teacher"]
    values = list(details["fd_of_class"].values())
    assert set(details["fd_of_class"]) <= {str(c) for c in range(10)}
    assert row["fd_class_worst"] == max(values)
    assert row["fd_class_mean"] == pytest.approx(np.mean(values))
    guided = made["driffusion-conservative-4", 3.0][0]
    assert guided["network_evaluations"] == 2 * row["network_evaluations"]
    assert guided["rmse_to_teacher"] != row["rmse_to_teacher"]


def test_the_worst_samples_come_first(long_tail, bench, tmp_path):
    teacher, few, _ = long_tail.entries(bench, 1.0, [])
    _, details = long_tail.tail_row(bench, few, teacher)
    serial, own = bench.samples(teacher, 0), bench.samples(few, 0)
    errors = np.sqrt(np.square(own - serial).mean((1, 2, 3)))
    assert details["worst"] == np.argsort(-errors)[:10].tolist()
    shown = {"few": (serial[details["worst"]], own[details["worst"]])}
    long_tail.worst_figure(tmp_path / "worst.png", shown)
    assert (tmp_path / "worst.png").exists()


def test_the_teacher_leads_where_no_method_is_its_own(long_tail, bench):
    spec = dict(bench.spec.methods)
    bench.spec.methods.pop("ddim-6")
    names = [entry.method.name for entry in long_tail.entries(bench, 1.0, [])]
    bench.spec.methods.update(spec)
    assert names == ["teacher", "ddim-2", "driffusion-conservative-4"]


def test_students_without_guidance_take_part_at_weight_one_only(long_tail, bench, tmp_path):
    config = {"task": "draft_refine", "evaluate": {"samples": 4}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert long_tail.students(bench, str(tmp_path), 2.0) == []
    with pytest.raises(UserError):
        long_tail.students(bench, str(tmp_path), 1.0)


def test_a_missing_run_is_named(long_tail, tmp_path, capsys):
    assert long_tail.main(["--teacher", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith(f"long_tail: no run in {tmp_path / 'none'}")
