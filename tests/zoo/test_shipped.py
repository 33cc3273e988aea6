"""The models that come with the library: small, readable, and they draw what they are asked for."""

import jax
import numpy as np
import pytest

from drf_jax.configs import emoji64, fashion_mnist32
from drf_jax.data.conditioning import condition_of
from drf_jax.data.digits import Digits
from drf_jax.data.image import to_uint8
from drf_jax.evaluation.features import load_classifier
from drf_jax.evaluation.generate import generate
from drf_jax.zoo.card import card
from drf_jax.zoo.model import SHIPPED, load_model, shipped

LIMIT = 40 * 2**20


def test_together_they_are_small():
    assert shipped()
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < LIMIT


@pytest.mark.parametrize("name", shipped())
def test_each_has_figures_and_a_card(name):
    model = load_model(name)
    assert model.facts["name"] == name and model.facts["rows"]
    assert model.student
    assert (SHIPPED / name / "README.md").read_text() == card(model.facts)


@pytest.mark.parametrize(
    ("name", "config"), [("emoji", emoji64), ("fashion_mnist", fashion_mnist32)]
)
def test_a_teacher_samples_as_its_config_says(name, config):
    stored = load_model(name).teacher.config
    assert {"grid": "uniform"} | stored["sampler"] == {
        "grid": "uniform"
    } | config.get_config().sampler.to_dict()


@pytest.mark.parametrize("name", ["emoji", "fashion_mnist"])
def test_what_it_was_measured_with_is_there(name):
    model = load_model(name)
    provenance = load_classifier(model.features).provenance
    assert provenance["dataset"] == model.facts["data"]["name"]


def test_the_digits_are_the_digits_that_were_asked_for(quick_compile):
    """A nearest-neighbour classifier of the real digits knows most of them."""
    model, digits = load_model("digits"), Digits()
    data = model.teacher.data
    with quick_compile():
        made = generate(
            model.method().sampler,
            jax.random.key(0),
            np.arange(64),
            data.image_shape,
            lambda index: condition_of(data, index),
            batch_size=64,
        )
    real = digits.gather(np.arange(len(digits)))
    flat = lambda images: images.reshape(len(images), -1).astype(np.float32)
    a, b = flat(to_uint8(made)), flat(real["image"])
    nearest = ((a[:, None] - b[None]) ** 2).sum(-1).argmin(1)
    wanted = condition_of(data, np.arange(64))["label"]
    assert np.mean(real["label"][nearest] == wanted) > 0.9
