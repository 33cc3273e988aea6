import jax
import numpy as np
import pytest

from drf_jax.data.source import load_source, take
from drf_jax.errors import UserError
from drf_jax.evaluation.train_classifier import train_classifier


@pytest.fixture(scope="module")
def digits():
    return load_source("digits")


def test_the_digits_are_learned_and_features_have_unit_variance_on_average(digits):
    classifier = train_classifier(digits, seed=0, steps=300)
    assert classifier.provenance["accuracy"] >= 0.97
    images, labels = take(digits, range(len(digits)))
    assert (classifier.classify(images) == labels).mean() >= 0.98
    features = classifier.extract(images)
    assert features.shape == (1797, 64) and features.dtype == np.float32
    assert abs(features.var(0).sum() / 64 - 1) < 0.05  # exact on the training part


def test_training_repeats_bit_for_bit_and_follows_the_seed(digits):
    first, again, other = (train_classifier(digits, seed, steps=3) for seed in (5, 5, 6))
    jax.tree.map(np.testing.assert_array_equal, first.params, again.params)
    assert first.provenance == again.provenance
    leaves = zip(jax.tree.leaves(first.params), jax.tree.leaves(other.params), strict=True)
    assert any((a != b).any() for a, b in leaves)


@pytest.mark.parametrize("held_out", [0.0, 1.0])
def test_a_split_with_an_empty_side_is_refused(digits, held_out):
    with pytest.raises(UserError, match=f"held_out {held_out} of 1797"):
        train_classifier(digits, 0, held_out=held_out)


def test_no_steps_are_refused(digits):
    with pytest.raises(UserError, match="steps 0 must be"):
        train_classifier(digits, 0, steps=0)


def test_without_a_terminal_lines_tell_how_far_it_is(digits, capsys):
    train_classifier(digits, 0, steps=20, batch_size=8)
    told = capsys.readouterr().err.splitlines()
    assert told == [f"classifier: update {step}/20" for step in range(2, 21, 2)]
