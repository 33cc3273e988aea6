"""The classifier of an evaluation may tell another label apart than the one that the teacher is told."""

import pytest

from drf_jax import build
from drf_jax.data.shapes import Shapes
from drf_jax.errors import UserError
from drf_jax.runs import features

CONFIG = {"data": {"name": "emoji", "label": "style"}}


@pytest.fixture
def asked(monkeypatch):
    """The labels of the data that were built."""
    labels = []

    def source(config):
        labels.append(config["data"]["label"])
        return Shapes((8, 8, 1), 0, name="emoji")

    monkeypatch.setattr(features.build, "source", source)
    return labels


def test_it_is_the_label_of_the_config(asked):
    for evaluate in ({}, {"feature_label": ""}, {"feature_label": "group"}):
        with pytest.raises(UserError, match="no classes"):
            features.train_features({**CONFIG, "evaluate": evaluate}, "out", 1, 0)
    assert asked == ["style", "style", "group"]
    assert CONFIG["data"]["label"] == "style"


class Training(Exception):
    """Of a classifier, on the data in ``args``."""


def test_one_that_is_trained_on_the_way_is_too(asked, monkeypatch, tmp_path):
    def train(path, data, steps):
        raise Training(data.name)

    monkeypatch.setattr(features, "feature_network", train)
    own = Shapes((8, 8, 1), 4, name="own")
    for label, name in (("", "own"), ("group", "emoji")):
        spec = build.Evaluate(samples=1, feature_label=label)
        with pytest.raises(Training, match=name):
            features.extractor_of(spec, tmp_path, own, CONFIG)
    assert asked == ["group"]
