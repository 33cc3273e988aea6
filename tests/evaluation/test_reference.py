import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation import reference
from drf_jax.evaluation.reference import make_reference, source_statistics, state_features
from drf_jax.evaluation.statistics import statistics_of
from drf_jax.evaluation.statistics_file import provenance_of, save_statistics


class Pixels:
    """Pixels as features; remembers which images it saw."""

    feature_space, resize, weights_sha256, provenance = "pixels", "none", "0", {}

    def __init__(self):
        self.seen = []

    def extract(self, images, batch_size=64):
        assert len(images) <= reference.ROWS
        flat = images.reshape(len(images), -1)
        self.seen.extend(flat[:, 0])
        return flat.astype(np.float32)


class Numbers:
    """Image i is full of i."""

    name, image_shape, num_classes, caption_width = "numbers", (2, 2, 1), 1, 0
    classes = ("all",)

    def __init__(self, start=0, stop=50):
        self.values = range(start, stop)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, i):
        return {"image": np.full((2, 2, 1), self.values[i], np.uint8), "label": np.int32(0)}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(reference, "ROWS", 7)


def all_features(source):
    return np.stack([np.full(4, value, np.float32) for value in source.values])


def test_fd_needs_statistics_only_and_sees_every_image_once():
    extractor = Pixels()
    real = make_reference(("fd",), extractor, Numbers(), 10)
    assert real.features is real.train is real.held_out is None
    assert extractor.seen == list(range(50))
    exact = statistics_of(all_features(Numbers()))
    assert real.statistics.n == 50
    np.testing.assert_allclose(real.statistics.mean, exact.mean)
    np.testing.assert_allclose(real.statistics.scatter, exact.scatter)


def test_paired_metrics_get_as_many_images_as_samples_always_the_same():
    first, second = (make_reference(("kid",), Pixels(), Numbers(), 10) for _ in range(2))
    assert first.statistics is None and first.features.shape == (10, 4)
    np.testing.assert_array_equal(first.features, second.features)
    chosen = first.features[:, 0]
    assert len(set(chosen)) == 10 and chosen.max() > 20
    assert len(make_reference(("kid",), Pixels(), Numbers(), 99).features) == 50


def test_memorisation_needs_the_training_data_and_held_out_data():
    extractor = Pixels()
    real = make_reference(
        ("memorisation", "fd"), extractor, Numbers(), 10, held_out=Numbers(60, 90)
    )
    np.testing.assert_array_equal(real.train, all_features(Numbers()))
    np.testing.assert_array_equal(real.held_out[:, 0], np.arange(60, 70))
    assert len(extractor.seen) == 60 and real.statistics.n == 50  # extracted once
    with pytest.raises(UserError, match="memorisation needs held-out data of numbers"):
        make_reference(("memorisation",), extractor, Numbers(), 10)


def test_the_limit_takes_the_first_images():
    extractor = Pixels()
    assert make_reference(("fd",), extractor, Numbers(), 5, limit=9).statistics.n == 9
    assert extractor.seen == list(range(9))


def test_a_statistics_file_stands_for_the_data(tmp_path):
    extractor, path = Pixels(), tmp_path / "s.npz"
    statistics = statistics_of(np.random.default_rng(0).normal(size=(9, 4)))
    about = {"dataset": "numbers", "split": "test", "count": 9, "image_shape": (2, 2, 1)}
    save_statistics(path, statistics, provenance_of(extractor, **about))
    real = make_reference(("fd",), extractor, Numbers(), 5, statistics=path)
    np.testing.assert_array_equal(real.statistics.mean, statistics.mean)
    assert extractor.seen == []
    extractor.weights_sha256 = "1"
    with pytest.raises(UserError, match=r"s\.npz: .* weights_sha256 is '0' and '1'"):
        make_reference(("fd",), extractor, Numbers(), 5, statistics=path)


def test_no_images_have_no_statistics():
    with pytest.raises(UserError, match="numbers: zero images"):
        source_statistics(Pixels(), Numbers(), range(0))


def test_samples_are_scored_as_they_would_be_stored():
    states = np.linspace(-2, 2, 40, dtype=np.float32).reshape(10, 2, 2, 1)
    features = state_features(Pixels(), states)
    assert features.shape == (10, 4) and features.min() == 0 and features.max() == 255
    assert (features == np.round(features)).all()
    states[3, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match="NaN"):
        state_features(Pixels(), states)
