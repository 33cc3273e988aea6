import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from drf_jax.evaluation.distance import squared_radii
from drf_jax.evaluation.precision_recall import density_coverage, precision_recall

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "kid_prc.npz")
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("case", ["prc", "prc_easy", "prc_far"])
def test_precision_and_recall_are_torch_fidelitys(case):
    generated, real = GOLDEN[f"{case}/gen"], GOLDEN[f"{case}/real"]
    for name, features in (("gen", generated), ("real", real)):
        radii = np.sqrt(squared_radii(features, 3))
        np.testing.assert_allclose(radii, GOLDEN[f"{case}/radius_{name}"], rtol=1e-10)
    expected = {name: GOLDEN[f"{case}/{name}"] for name in ("precision", "recall")}
    assert precision_recall(generated, real) == expected


def test_precision_and_recall_change_places_with_the_sets():
    a, b = RNG.normal(size=(60, 2)), RNG.normal(0.7, 1, (50, 2))
    one, other = precision_recall(a, b), precision_recall(b, a)
    assert one["precision"] == other["recall"] and one["recall"] == other["precision"]
    assert 0 < one["precision"] < 1


@pytest.mark.parametrize("k", [1, 5])
def test_density_and_coverage_are_their_definitions(k):
    generated, real = RNG.normal(size=(40, 2)), RNG.normal(size=(30, 2))
    between = np.linalg.norm(generated[:, None] - real, axis=-1)
    radii = np.sort(np.linalg.norm(real[:, None] - real, axis=-1), 1)[:, k]
    inside = between <= radii
    found = density_coverage(generated, real, k)
    assert found == {"density": inside.sum() / (k * 40), "coverage": inside.any(0).mean()}


def test_an_outlier_spoils_recall_but_not_coverage():
    """Naeem et al. 2020, section 3: one stray sample has a ball that holds all the data."""
    real = RNG.normal(size=(200, 2))
    stray = 20 + 0.001 * RNG.normal(size=(3, 2))
    generated = np.concatenate([stray, [[-20.0, -20.0]]])
    assert precision_recall(generated, real)["recall"] == 1
    assert density_coverage(generated, real) == {"density": 0, "coverage": 0}


def test_one_mode_of_two_is_dense_and_covers_half():
    real = np.concatenate([RNG.normal(size=(200, 2)), RNG.normal(50, 1, (200, 2))])
    found = density_coverage(RNG.normal(size=(200, 2)), real)
    # Half of the real balls are there, each holds k of 200 real samples: twice as many per sample.
    assert 0.8 < found["density"] < 1.2 and 0.45 < found["coverage"] <= 0.5


def test_memory_does_not_grow_with_the_square():
    features = RNG.normal(size=(6000, 2)).astype(np.float32)
    tracemalloc.start()
    density_coverage(features, features[:5000])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6 < 6000 * 5000 * 8
