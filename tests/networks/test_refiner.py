import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.networks.cross_draft import CrossDraft
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.refiner import RefineNetwork
from drf_jax.networks.transfer import refiner_from_teacher

K = 3
DRAFTS = jax.random.normal(jax.random.key(1), (K, 2, 4, 8, 2))
TIMES = jnp.array([[0.8, 0.6], [0.6, 0.5], [0.3, 0.2]])


def network_of(backbone):
    return RefineNetwork(backbone, K, CrossDraft(K, backbone.heads))


@pytest.fixture
def started(backbone, cond, make, fresh):
    """(teacher's parameters and apply, refiner's parameters as transferred and apply)."""
    teacher, evaluate = make(DenoisingNetwork(backbone), DRAFTS[0], TIMES[0], cond)
    params, refine = fresh(network_of(backbone), DRAFTS, TIMES, cond)
    return teacher, evaluate, refiner_from_teacher(params, teacher), refine


def crossing(params, refine, cond):
    """Which drafts' outputs move when draft 1 moves."""
    moved = refine(params, DRAFTS.at[1].add(0.5), TIMES, cond) - refine(params, DRAFTS, TIMES, cond)
    return (jnp.abs(moved).max(axis=(1, 2, 3, 4)) > 1e-5).tolist()


def test_from_a_teacher_it_is_the_teacher_at_every_draft(started, cond):
    teacher, evaluate, params, refine = started
    expected = jnp.stack([evaluate(teacher, DRAFTS[k], TIMES[k], cond) for k in range(K)])
    assert jnp.abs(expected).max() > 0.1
    np.testing.assert_allclose(refine(params, DRAFTS, TIMES, cond), expected, atol=2e-6)


def test_drafts_see_each_other_through_the_mixers_only(started, backbone, cond, make):
    _, _, params, refine = started
    noisy, _ = make(network_of(backbone), DRAFTS, TIMES, cond)
    assert crossing(params, refine, cond) == [False, True, False]
    mixers = {name: tree for name, tree in noisy["trunk"].items() if name.startswith("mix_")}
    assert mixers
    mixed = {**params, "trunk": {**params["trunk"], **mixers}}
    assert crossing(mixed, refine, cond) == [True, True, True]


def test_samples_stay_apart(backbone, cond, make):
    noisy, refine = make(network_of(backbone), DRAFTS, TIMES, cond)
    moved = refine(noisy, DRAFTS.at[:, 0].add(0.5), TIMES, cond) - refine(
        noisy, DRAFTS, TIMES, cond
    )
    moved = jnp.abs(moved).max(axis=(2, 3, 4))
    assert (moved[:, 0] > 1e-3).all()
    assert (moved[:, 1] < 1e-6).all()


def test_number_of_drafts_is_checked(backbone, cond):
    with pytest.raises(UserError, match="2 drafts: the network was built for 3"):
        jax.eval_shape(network_of(backbone).init, jax.random.key(0), DRAFTS[:2], TIMES[:2], cond)


def test_without_a_mixer_drafts_are_alone(backbone, cond, make):
    params, refine = make(RefineNetwork(backbone, K, None), DRAFTS, TIMES, cond)
    assert not [name for name in params["trunk"] if name.startswith("mix_")]
    assert crossing(params, refine, cond) == [False, True, False]
