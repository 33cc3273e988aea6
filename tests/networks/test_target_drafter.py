import jax
import jax.numpy as jnp
import numpy as np

from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.target_drafter import TargetDraftNetwork
from drf_jax.networks.transfer import target_drafter_from_teacher

K = 3
X = jax.random.normal(jax.random.key(1), (2, 4, 8, 2))
T = jnp.array([0.9, 0.7])
TARGETS = jnp.array([[0.8, 0.6], [0.6, 0.5], [0.3, 0.2]])


def test_from_a_teacher_it_is_the_teacher_whatever_the_target(backbone, cond, make, fresh):
    teacher, evaluate = make(DenoisingNetwork(backbone), X, T, cond)
    params, draft = fresh(TargetDraftNetwork(backbone), X, T, TARGETS, cond)
    assert set(params) == {"embed", "trunk", "head", "target"}
    out = draft(target_drafter_from_teacher(params, teacher), X, T, TARGETS, cond)
    expected = evaluate(teacher, X, T, cond)
    assert jnp.abs(expected).max() > 0.1
    np.testing.assert_allclose(out, jnp.stack([expected] * K), atol=2e-6)


def test_a_draft_depends_on_its_own_target_alone(backbone, cond, make):
    params, apply = make(TargetDraftNetwork(backbone), X, T, TARGETS, cond)
    out = apply(params, X, T, TARGETS, cond)
    moved = jnp.abs(apply(params, X, T, TARGETS.at[1].add(-0.1), cond) - out)
    assert (moved.max(axis=(1, 2, 3, 4)) > 1e-4).tolist() == [False, True, False]
    alone = apply(params, X[:1], T[:1], TARGETS[:, :1], {"label": cond["label"][:1]})
    np.testing.assert_allclose(out[:, :1], alone, atol=2e-6)  # of samples, too


def test_the_same_parameters_serve_any_number_of_drafts(backbone, cond, make):
    params, apply = make(TargetDraftNetwork(backbone), X, T, TARGETS, cond)
    fewer = apply(params, X, T, TARGETS[1:], cond)
    np.testing.assert_allclose(fewer, apply(params, X, T, TARGETS, cond)[1:], atol=2e-6)
