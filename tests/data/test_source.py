import numpy as np
import pytest

from drf_jax.data.prepare import RECIPES
from drf_jax.data.source import SOURCES, Source, load_source, take
from drf_jax.errors import UserError


def test_digits_keep_the_contract():
    source = load_source("digits")
    example = source[len(source) - 1]
    assert isinstance(source, Source) and source.name == "digits"
    assert example["image"].shape == source.image_shape and example["image"].dtype == np.uint8
    assert 0 <= example["label"] < source.num_classes and example["label"].dtype == np.int32


def test_unknown_source_names_the_known_ones():
    with pytest.raises(UserError, match=r"'mnits' is unknown; known: .*digits.*mnist"):
        load_source("mnits")


def test_everything_that_can_be_prepared_can_be_loaded(tmp_path):
    assert SOURCES.keys() == {"digits", "shapes", *RECIPES}
    with pytest.raises(UserError, match="run: drf data prepare emoji"):
        load_source("emoji", data_dir=tmp_path)


def test_take_keeps_the_order():
    source = load_source("digits")
    images, labels = take(source, [5, 2, 5])
    assert images.shape == (3, 8, 8, 1)
    np.testing.assert_array_equal(images[0], images[2])
    np.testing.assert_array_equal(images[1], source[2]["image"])
    np.testing.assert_array_equal(labels, [5, 2, 5])  # the set starts with 0, 1, 2, ..., 9


def test_a_limit_keeps_the_first_examples():
    few = load_source("digits", limit=7)
    assert isinstance(few, Source) and len(few) == 7
    assert (few.name, few.image_shape, few.num_classes) == ("digits", (8, 8, 1), 10)
    np.testing.assert_array_equal(take(few, range(7))[0], take(load_source("digits"), range(7))[0])
    np.testing.assert_array_equal(few[-1]["image"], load_source("digits")[6]["image"])
    with pytest.raises(IndexError):
        few[7]
    assert len(load_source("digits", limit=10**6)) == 1797
    with pytest.raises(UserError, match="limit 0 must be at least 1"):
        load_source("digits", limit=0)
