import dataclasses
import re

import numpy as np
import pytest

from drf_jax import __version__
from drf_jax.errors import UserError
from drf_jax.evaluation.statistics import statistics_of
from drf_jax.evaluation.statistics_file import (
    COMPARED,
    Provenance,
    check_compatible,
    load_statistics,
    provenance_of,
    save_statistics,
)

FEATURES = np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32)
STATISTICS = statistics_of(FEATURES)


class Pixels:
    feature_space, resize, weights_sha256 = "pixels", "none", "abc"
    provenance = {"by": "hand"}  # noqa: RUF012

    def extract(self, images, batch_size=64):
        return images.reshape(len(images), -1).astype(np.float32)


PROVENANCE = provenance_of(
    Pixels(), dataset="digits", split="train", count=50, image_shape=(2, 2, 1)
)


@pytest.fixture
def path(tmp_path):
    save_statistics(tmp_path / "new" / "s.npz", STATISTICS, PROVENANCE)
    return tmp_path / "new" / "s.npz"


def test_statistics_come_back_bit_for_bit_with_their_provenance(path):
    statistics, provenance = load_statistics(path)
    assert provenance == PROVENANCE
    assert provenance.version == __version__ and provenance.quantisation == "uint8-half-up"
    assert statistics.n == 50
    np.testing.assert_array_equal(statistics.mean, STATISTICS.mean)
    np.testing.assert_array_equal(statistics.scatter, STATISTICS.scatter)


def test_other_programs_find_mu_and_sigma(path):
    with np.load(path) as stored:
        np.testing.assert_allclose(stored["mu"], FEATURES.mean(0), rtol=1e-5)
        np.testing.assert_allclose(stored["sigma"], np.cov(FEATURES.astype(float).T), rtol=1e-12)


@pytest.mark.parametrize("field", COMPARED)
def test_each_mismatch_is_refused_by_name_and_values(field):
    other = (8, 8, 3) if field == "image_shape" else "another"
    changed = dataclasses.replace(PROVENANCE, **{field: other})
    ours = re.escape(repr(getattr(PROVENANCE, field)))
    with pytest.raises(UserError, match=rf"{field} is {ours} and {re.escape(repr(other))}"):
        check_compatible(PROVENANCE, changed)
    check_compatible(changed, changed)


def test_split_count_and_version_may_differ():
    check_compatible(
        PROVENANCE, dataclasses.replace(PROVENANCE, split="samples", count=9, version="0")
    )
    fields = {field.name for field in dataclasses.fields(Provenance)}
    assert fields == {*COMPARED, "split", "count", "version"}


def test_a_wrong_count_and_a_single_image_are_not_written(tmp_path):
    with pytest.raises(UserError, match="statistics of 50 images, provenance of 49"):
        save_statistics(tmp_path / "s.npz", STATISTICS, dataclasses.replace(PROVENANCE, count=49))
    with pytest.raises(UserError, match="at least 2 samples"):
        save_statistics(
            tmp_path / "s.npz",
            statistics_of(FEATURES[:1]),
            dataclasses.replace(PROVENANCE, count=1),
        )
    assert not list(tmp_path.iterdir())


def test_unusable_files_are_named(path):
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[:-50], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"s\.npz is not a whole statistics file"):
            load_statistics(path)
    np.savez(path, mu=STATISTICS.mean, sigma=STATISTICS.covariance)
    with pytest.raises(UserError, match=r"s\.npz does not say what it was made from"):
        load_statistics(path)
    path.unlink()
    with pytest.raises(UserError, match=r"s\.npz does not exist"):
        load_statistics(path)


def test_arrays_that_do_not_fit_together_are_refused(path):
    with np.load(path) as stored:
        arrays = dict(stored)
    for changes in ({"scatter": np.zeros((3, 3))}, {"mu": np.zeros((4, 1))}):
        np.savez(path, **arrays | changes)
        with pytest.raises(UserError, match="is not a whole statistics file"):
            load_statistics(path)
