import numpy as np
import pytest

from drf_jax.data.digits import Digits
from drf_jax.data.held_out import hold_out
from drf_jax.errors import UserError


def images(source):
    return np.stack([source[i]["image"] for i in range(len(source))])


def test_every_example_is_in_one_of_two_parts_and_the_rest_keeps_its_order():
    data = Digits()
    seen, unseen = hold_out(data, 100)
    assert (len(seen), len(unseen), seen.name) == (len(data) - 100, 100, "digits")
    position = {data[i]["image"].tobytes(): i for i in range(len(data))}
    order = [position[image.tobytes()] for image in images(seen)]
    assert order == sorted(order)
    both = np.concatenate([images(seen), images(unseen)])
    assert {image.tobytes() for image in both} == set(position) and len(both) == len(data)
    assert len({int(unseen[i]["label"]) for i in range(100)}) == 10  # drawn, not cut off the end


def test_more_held_out_examples_include_the_fewer():
    few, more = (hold_out(Digits(), count)[1] for count in (16, 64))
    np.testing.assert_array_equal(images(few), images(more)[:16])


def test_none_held_out_is_all_the_data():
    data = Digits()
    seen, unseen = hold_out(data, 0)
    assert len(unseen) == 0
    np.testing.assert_array_equal(images(seen), images(data))


def test_holding_out_everything_is_refused():
    with pytest.raises(UserError, match=r"held_out = 1797: the data digits have only 1797"):
        hold_out(Digits(), 1797)
