import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.networks.ahead import AheadNetwork
from drf_jax.networks.cross_draft import CrossDraft
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.transfer import ahead_from_teacher

K = 3
DRAFTS = jax.random.normal(jax.random.key(1), (K, 2, 4, 8, 2))
TIMES = jnp.array([[0.8, 0.6], [0.6, 0.5], [0.3, 0.2]])


def network_of(backbone):
    return AheadNetwork(backbone, K, CrossDraft(K, backbone.heads))


def moved(params, apply, draft, cond):
    """Which outputs move when one draft moves."""
    there = apply(params, DRAFTS.at[draft].add(0.5), TIMES, cond)
    change = jnp.abs(there - apply(params, DRAFTS, TIMES, cond))
    return (change.max(axis=(1, 2, 3, 4)) > 1e-5).tolist()


def test_from_a_teacher_it_is_the_teacher_at_every_draft_and_the_last_one_ahead(
    backbone, cond, make, fresh
):
    teacher, evaluate = make(DenoisingNetwork(backbone), DRAFTS[0], TIMES[0], cond)
    params, apply = fresh(network_of(backbone), DRAFTS, TIMES, cond)
    params = ahead_from_teacher(params, teacher, K)
    now = [evaluate(teacher, DRAFTS[k], TIMES[k], cond) for k in range(K)]
    expected = jnp.stack(now + [now[-1]] * K)
    assert jnp.abs(expected).max() > 0.1
    np.testing.assert_allclose(apply(params, DRAFTS, TIMES, cond), expected, atol=2e-6)
    assert moved(params, apply, 0, cond) == [True, False, False] + [False] * K
    assert moved(params, apply, K - 1, cond) == [False, False, True] + [True] * K


def test_what_is_ahead_depends_on_all_drafts_through_the_mixers(backbone, cond, make):
    params, apply = make(network_of(backbone), DRAFTS, TIMES, cond)
    assert moved(params, apply, 0, cond) == [True] * (2 * K)
    out = apply(params, DRAFTS, TIMES, cond)
    for j in range(K):  # every head is its own
        assert all(jnp.abs(out[K + j] - out[K + i]).max() > 1e-3 for i in range(j))


def test_number_of_drafts_is_checked(backbone, cond):
    with pytest.raises(UserError, match="2 drafts: the network was built for 3"):
        jax.eval_shape(network_of(backbone).init, jax.random.key(0), DRAFTS[:2], TIMES[:2], cond)
