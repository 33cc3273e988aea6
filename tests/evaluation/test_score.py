import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.kernel import kernel_distance
from drf_jax.evaluation.reference import Reference
from drf_jax.evaluation.report import KEYS, row
from drf_jax.evaluation.score import METRICS, check_metrics, over_seeds, score
from drf_jax.evaluation.statistics import statistics_of

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(60, 3)).astype(np.float32)
HELD_OUT = RNG.normal(size=(30, 3)).astype(np.float32)
ALL = Reference(statistics_of(REAL), REAL, REAL, HELD_OUT)


def test_every_metric_gives_keys_of_a_row():
    values = score(HELD_OUT, ALL, tuple(METRICS))
    assert values.keys() <= KEYS.keys() and len(values) == 9
    assert row(method="ddim", **values)


def test_copies_of_the_data_are_perfect_and_memorised():
    values = score(REAL, ALL, tuple(METRICS))
    assert values["fd"] == pytest.approx(0, abs=1e-6)
    assert values["precision"] == values["recall"] == values["coverage"] == 1
    assert values["nearest_ratio"] < 1e-3 and values["suspicious_share"] == 1


def test_far_samples_are_far_in_every_metric():
    near, far = (score(HELD_OUT + shift, ALL, tuple(METRICS)) for shift in (0, 9))
    assert far["fd"] > near["fd"] + 3 * 81 / 2 and far["kid"] > near["kid"] + 1
    assert far["precision"] == far["density"] == far["coverage"] == 0
    assert far["nearest_ratio"] > near["nearest_ratio"] > 0.5


def test_kid_takes_subsets_as_large_as_there_are_samples():
    expected = kernel_distance(HELD_OUT, REAL, 0, subset_size=30)
    assert score(HELD_OUT, ALL, ("kid",)) == expected


def test_only_what_is_asked_for_is_measured():
    assert score(HELD_OUT, Reference(ALL.statistics), ("fd",)).keys() == {"fd"}


def test_unknown_metrics_are_refused():
    with pytest.raises(UserError, match=r"metrics: 'fid' is unknown; known: fd, kid, precision"):
        check_metrics(("fd", "fid"))


def test_several_sets_give_mean_and_deviation():
    sets = [
        {"fd": 1.0, "kid": 2.0, "kid_sd": 7.0, "rmse_to_teacher_p99": 3.0, "psnr_to_teacher": 9.0},
        {"fd": 3.0, "kid": 2.0, "kid_sd": 9.0, "rmse_to_teacher_p99": 5.0, "psnr_to_teacher": None},
    ]
    assert over_seeds(sets) == {
        "fd": 2.0,
        "fd_sd": pytest.approx(np.sqrt(2)),
        "kid": 2.0,
        "kid_sd": 0.0,
        "rmse_to_teacher_p99": 4.0,
        "psnr_to_teacher": None,
    }
    assert over_seeds(sets[:1]) == sets[0]
