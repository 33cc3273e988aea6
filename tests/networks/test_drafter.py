import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.networks.drafter import DraftNetwork
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.transfer import drafter_from_teacher

K = 3
X = jax.random.normal(jax.random.key(1), (2, 4, 8, 2))
T = jnp.array([0.9, 0.7])
TARGETS = jnp.array([[0.8, 0.6], [0.6, 0.5], [0.3, 0.2]])


def test_from_a_teacher_every_head_is_the_teacher(backbone, cond, make, fresh):
    teacher, evaluate = make(DenoisingNetwork(backbone), X, T, cond)
    params, draft = fresh(DraftNetwork(backbone, K), X, T, TARGETS, cond)
    assert set(params) == {"embed", "trunk", "heads", "targets"}
    out = draft(drafter_from_teacher(params, teacher, K), X, T, TARGETS, cond)
    expected = evaluate(teacher, X, T, cond)
    assert jnp.abs(expected).max() > 0.1
    np.testing.assert_allclose(out, jnp.stack([expected] * K), atol=2e-6)


def test_heads_have_their_own_parameters(backbone, cond, make):
    params, apply = make(DraftNetwork(backbone, K), X, T, TARGETS, cond)
    out = apply(params, X, T, TARGETS, cond)
    heads = jax.tree.map(lambda p: p.at[1].add(0.1), params["heads"])
    moved = jnp.abs(apply({**params, "heads": heads}, X, T, TARGETS, cond) - out)
    assert (moved.max(axis=(1, 2, 3, 4)) > 1e-3).tolist() == [False, True, False]


def test_target_times_reach_the_own_head_and_through_the_trunk_every_head(backbone, cond, make):
    params, apply = make(DraftNetwork(backbone, K), X, T, TARGETS, cond)

    def moved(params):
        other = apply(params, X, T, TARGETS.at[1].add(-0.1), cond)
        return jnp.abs(other - apply(params, X, T, TARGETS, cond)).max(axis=(1, 2, 3, 4)) > 1e-5

    zero = lambda tree: jax.tree.map(jnp.zeros_like, tree)
    targets = params["targets"]
    own = {**params, "targets": {**targets, "trunk": zero(targets["trunk"])}}
    assert moved(own).tolist() == [False, True, False]
    every = {**params, "targets": {**targets, "heads": zero(targets["heads"])}}
    assert moved(every).tolist() == [True, True, True]


def test_number_of_targets_is_checked(backbone, cond):
    with pytest.raises(UserError, match="2 target times: the network has 3 heads"):
        jax.eval_shape(DraftNetwork(backbone, K).init, jax.random.key(0), X, T, TARGETS[:2], cond)
