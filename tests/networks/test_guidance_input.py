import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.networks.dit import DiT
from drf_jax.networks.drafter import DraftNetwork
from drf_jax.networks.embed import Embedding
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.refiner import RefineNetwork
from drf_jax.networks.transfer import (
    drafter_from_teacher,
    refiner_from_teacher,
    student_from_teacher,
)

X, T = jnp.linspace(-1, 1, 64).reshape(2, 4, 4, 2), jnp.array([0.2, 0.7])
W = jnp.array([1.0, 6.0])


def with_guidance(backbone):
    return dataclasses.replace(backbone, guidance=True)


def test_a_student_of_an_unguided_teacher_starts_as_it_whatever_the_weight(
    backbone, cond, make, fresh
):
    teacher, apply = make(DenoisingNetwork(backbone), X, T, cond)
    told = {**cond, "guidance": W}
    params, apply_student = fresh(DenoisingNetwork(with_guidance(backbone)), X, T, told)
    params = student_from_teacher(params, teacher)
    assert "guidance" in params["embed"] and "guidance" not in teacher["embed"]
    np.testing.assert_array_equal(apply_student(params, X, T, told), apply(teacher, X, T, cond))


def test_a_trained_weight_matters(make):
    params, apply = make(Embedding(4, guidance=True), T, {"guidance": W})
    assert set(params["guidance"]) == {"kernel"}
    a, b, c = (apply(params, T, {"guidance": w}) for w in (W, W + 0.1, W))
    assert jnp.abs(a - b).max() > 1e-3
    np.testing.assert_array_equal(a, c)


DIT = DiT(channels=2, patch=2, width=8, depth=1, heads=2, num_classes=3)


def test_drafter_and_refiner_may_be_told_the_weight_too(cond, make, fresh):
    backbone = DIT
    teacher, apply = make(DenoisingNetwork(backbone), X, T, cond)
    told, shape, times = {**cond, "guidance": W}, with_guidance(backbone), jnp.stack([T, T / 2])
    expected = apply(teacher, X, T, cond)
    drafter, apply_drafter = fresh(DraftNetwork(shape, 2), X, T, times, told)
    drafts = apply_drafter(drafter_from_teacher(drafter, teacher, 2), X, T, times, told)
    np.testing.assert_allclose(drafts, jnp.stack([expected] * 2), atol=1e-5)
    refiner, apply_refiner = fresh(RefineNetwork(shape, 2, None), jnp.stack([X, X]), times, told)
    refined = apply_refiner(refiner_from_teacher(refiner, teacher), jnp.stack([X, X]), times, told)
    np.testing.assert_allclose(refined[0], expected, atol=1e-5)


def test_the_weight_is_needed_by_those_that_know_it_and_unknown_to_others(make):
    with pytest.raises(UserError, match=r"lacks the key 'guidance': .*guidance=True"):
        make(Embedding(4, guidance=True), T, None)
    with pytest.raises(
        UserError, match=r"key 'guidance'.*none \(num_classes=0, .*guidance=False\)"
    ):
        make(Embedding(4), T, {"guidance": W})
