import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.data.conditioning import condition, condition_of, label_named, null_cond, null_of
from drf_jax.data.digits import Digits
from drf_jax.errors import UserError
from drf_jax.networks.dit import DiT

CAPTIONED = DiT(channels=1, num_classes=4, caption_width=3)


class Plain(Digits):
    num_classes, classes = 0, ()


def test_data_without_classes_have_no_conditioning():
    assert condition(Plain(), {"label": np.arange(3)}) == {}
    assert condition_of(Plain(), np.arange(3)) == {} == null_cond(Plain(), 3)


def test_labels_are_those_of_the_examples_modulo_the_length():
    data = Digits()
    cond = condition_of(data, np.array([5, 5 + len(data), 0]))
    assert list(cond) == ["label"] and cond["label"].dtype == np.int32
    assert cond["label"].tolist() == [data[5]["label"], data[5]["label"], data[0]["label"]]


def test_the_empty_conditioning_has_the_form_of_any_other():
    examples = {"label": np.array([1, 2]), "caption_embedding": np.ones((2, 3), np.float32)}
    cond, null = condition(CAPTIONED, examples), null_cond(CAPTIONED, 2)
    assert cond.keys() == null.keys() == null_of(CAPTIONED).keys()
    for name in cond:
        assert cond[name].shape == null[name].shape and cond[name].dtype == null[name].dtype
    assert null["label"].tolist() == [4, 4] and not null["caption"].any()
    np.testing.assert_array_equal(null_of(CAPTIONED)["caption"], jnp.zeros(3))


def test_labels_have_names():
    assert label_named(Digits(), "7") == 7
    with pytest.raises(UserError, match="digits have no class 'seven'; known: 0, 1, 2"):
        label_named(Digits(), "seven")
    with pytest.raises(UserError, match="known: none"):
        label_named(Plain(), "7")
