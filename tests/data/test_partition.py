import hashlib

import numpy as np

from drf_jax.data.partition import place, split_of


def test_place_is_the_documented_number():
    head = int(hashlib.sha256(b"1f600").hexdigest()[:16], 16)
    assert place("1f600") == head / 2**64


def test_the_test_split_has_its_fraction_and_only_grows_with_it():
    names = [f"name {i}" for i in range(4000)]
    tenth = {name for name in names if split_of(name, 0.1) == "test"}
    fifth = {name for name in names if split_of(name, 0.2) == "test"}
    np.testing.assert_allclose([len(tenth), len(fifth)], [400, 800], rtol=0.1)
    assert tenth < fifth and all(split_of(name, 0.0) == "train" for name in names)
