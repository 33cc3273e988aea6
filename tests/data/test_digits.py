import numpy as np
from sklearn.datasets import load_digits

from drf_jax.data.digits import Digits


def test_digits_are_scikit_learns_rescaled_to_bytes():
    source, raw = Digits(), load_digits()
    assert len(source) == 1797
    for i in (0, 1000, 1796):
        exact = raw.images[i][..., None] * 255 / 16
        assert np.abs(source[i]["image"] - exact).max() <= 0.5
        assert source[i]["label"] == raw.target[i]


def test_all_seventeen_grey_values_stay_apart():
    source = Digits()
    values = np.unique(np.stack([source[i]["image"] for i in range(len(source))]))
    assert len(values) == 17 and values[0] == 0 and values[-1] == 255
    assert values[8] == 128  # 127.5, half up


def test_an_example_can_be_changed_without_changing_the_source():
    source = Digits()
    source[0]["image"][...] = 7
    assert (source[0]["image"] != 7).any()
