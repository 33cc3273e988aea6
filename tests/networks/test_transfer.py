import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.networks.transfer import drafter_from_teacher, overlay, refiner_from_teacher

TEACHER = {
    "embed": {"w": jnp.array([1.0, 2.0])},
    "trunk": {"block_0": {"w": jnp.array([3.0])}},
    "head": {"w": jnp.array([[4.0, 5.0]])},
}


def zeros(tree):
    return jax.tree.map(jnp.zeros_like, tree)


def test_drafter_repeats_the_head_and_keeps_the_targets():
    targets = {"w": jnp.array([9.0])}
    fresh = {**zeros(TEACHER), "heads": {"w": jnp.zeros((3, 1, 2))}, "targets": targets}
    del fresh["head"]
    params = drafter_from_teacher(fresh, TEACHER, 3)
    np.testing.assert_array_equal(params["heads"]["w"], jnp.stack([TEACHER["head"]["w"]] * 3))
    np.testing.assert_array_equal(params["embed"]["w"], TEACHER["embed"]["w"])
    np.testing.assert_array_equal(params["targets"]["w"], targets["w"])


def test_refiner_keeps_its_mixers():
    fresh = zeros(TEACHER)
    fresh["trunk"]["mix_0"] = {"w": jnp.array([7.0])}
    params = refiner_from_teacher(fresh, TEACHER)
    assert params["trunk"]["mix_0"]["w"] == 7
    np.testing.assert_array_equal(params["trunk"]["block_0"]["w"], [3.0])


def test_donating_the_copy_leaves_the_teacher_alive():
    params = refiner_from_teacher(zeros(TEACHER), TEACHER)
    for leaf in jax.tree.leaves(params):
        leaf.delete()
    np.testing.assert_array_equal(TEACHER["embed"]["w"], [1.0, 2.0])


def test_other_shape_names_the_leaf_and_both_shapes():
    fresh = zeros(TEACHER)
    fresh["embed"]["w"] = jnp.zeros(4)
    with pytest.raises(UserError, match=r"another architecture: embed/w is \(2,\).* and \(4,\)"):
        refiner_from_teacher(fresh, TEACHER)


def test_a_leaf_the_teacher_lacks_must_be_the_networks_own():
    fresh = zeros(TEACHER)
    fresh["trunk"]["block_1"] = {"w": jnp.zeros(1)}
    with pytest.raises(UserError, match="trunk/block_1/w is absent"):
        refiner_from_teacher(fresh, TEACHER)
    assert "block_1" in overlay(fresh, TEACHER, own="trunk/block_1/")["trunk"]


def test_a_leaf_only_the_teacher_has_is_an_error():
    fresh = zeros(TEACHER)
    del fresh["trunk"]["block_0"]
    with pytest.raises(UserError, match=r"trunk/block_0/w is \(1,\) there and absent here"):
        refiner_from_teacher(fresh, TEACHER)


def test_wrong_number_of_heads_is_an_error():
    fresh = {**zeros(TEACHER), "heads": {"w": jnp.zeros((2, 1, 2))}}
    del fresh["head"]
    with pytest.raises(UserError, match=r"heads/w is \(3, 1, 2\) there and \(2, 1, 2\)"):
        drafter_from_teacher(fresh, TEACHER, 3)
