import numpy as np
import pytest

from drf_jax.data.source import load_source, take
from drf_jax.errors import UserError
from drf_jax.evaluation.features import (
    load_classifier,
    save_classifier,
)
from drf_jax.evaluation.frechet import frechet_between
from drf_jax.evaluation.statistics import statistics_of
from drf_jax.evaluation.train_classifier import train_classifier


@pytest.fixture(scope="module")
def digits():
    return load_source("digits")


@pytest.fixture(scope="module")
def images(digits):
    return take(digits, range(len(digits)))[0]


@pytest.fixture(scope="module")
def classifier(digits):
    return train_classifier(digits, seed=0, steps=300)


def test_features_do_not_depend_on_the_batch(classifier, images):
    whole = classifier.extract(images[:10], batch_size=10)
    np.testing.assert_allclose(classifier.extract(images[:10], batch_size=4), whole, atol=1e-5)


def test_distance_orders_images_by_their_damage(classifier, images):
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))
    reference, *others = np.split(images[order], [898])

    def distance(noise):
        noisy = np.clip(others[0] + noise * rng.normal(size=others[0].shape), 0, 255)
        features = [classifier.extract(x) for x in (reference, noisy.astype(np.uint8))]
        return frechet_between(*map(statistics_of, features))

    clean, mild, strong = distance(0), distance(40), distance(100)
    assert 0.1 < clean < 1 < mild < strong / 2


def test_saved_and_loaded_is_the_same(classifier, images, tmp_path):
    path = tmp_path / "classifier.npz"
    save_classifier(path, classifier)
    loaded = load_classifier(path)
    assert loaded.provenance == classifier.provenance and loaded.num_classes == 10
    assert loaded.provenance["dataset"] == "digits" and loaded.provenance["seed"] == 0
    np.testing.assert_array_equal(loaded.extract(images[:5]), classifier.extract(images[:5]))


def test_unusable_files_are_named(classifier, tmp_path):
    path = tmp_path / "classifier.npz"
    with pytest.raises(UserError, match=r"classifier\.npz does not exist"):
        load_classifier(path)
    save_classifier(path, classifier)
    whole = path.read_bytes()
    for damaged in (whole[:-100], whole[: len(whole) // 2], b"", b"text"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"classifier\.npz is not a whole"):
            load_classifier(path)
    np.savez(path, something=np.zeros(3))
    with pytest.raises(UserError, match=r"classifier\.npz is not a whole"):
        load_classifier(path)


def test_images_of_another_shape_are_refused(classifier):
    with pytest.raises(UserError, match=r"\(16, 16, 1\); the classifier takes \(8, 8, 1\)"):
        classifier.extract(np.zeros((2, 16, 16, 1), np.uint8))


def test_no_images_give_no_features(classifier):
    assert classifier.extract(np.zeros((0, 8, 8, 1), np.uint8)).shape == (0, 64)
