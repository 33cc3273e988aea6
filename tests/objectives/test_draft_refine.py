"""The objectives on toy networks in float64, where everything can be written out by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.objectives.draft_refine import (
    GRADIENTS,
    OnPolicy,
    TeacherForced,
    jump_scale,
    round_loss,
    state_loss,
)
from drf_jax.process.prediction import from_output
from drf_jax.process.schedule import CosineVP, LinearVP
from drf_jax.process.table import Table
from drf_jax.sampling.driffusion import one_round
from drf_jax.sampling.grid import uniform
from drf_jax.sampling.learned import Conservative
from drf_jax.sampling.loops import COMPILED, PYTHON
from drf_jax.sampling.transition import skip

K, ROUNDS, B = 2, 3, 6
NODES = K + 1
PROCESS = CosineVP()
GRID = tuple(uniform(PROCESS, ROUNDS * NODES).tolist())
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@dataclasses.dataclass(frozen=True)
class Drafter:
    def apply(self, variables, x, t, targets, cond):
        w = variables["params"]["w"].reshape(K, 1, 1, 1)
        return jnp.tanh(w * x + (t + targets)[..., None, None] + cond["shift"][:, None, None])


@dataclasses.dataclass(frozen=True)
class Refiner:
    def apply(self, variables, drafts, times, cond):
        together = drafts + variables["params"]["w"] * drafts.mean(0)
        return jnp.sin(together + times[..., None, None] + cond["shift"][:, None, None])


STUDENT = Conservative(Drafter(), Refiner(), PROCESS, "v", "noise", K)


def normal(*shape, key=0):
    return jax.random.normal(jax.random.key(key), shape, jnp.float64)


def params():
    return {"drafter": {"w": normal(K, key=1)}, "refiner": {"w": jnp.float64(0.7)}}


def batch():
    states = normal(B, ROUNDS * NODES + 1, 2, 2, key=2)
    return {"states": states, "cond": {"shift": normal(B, key=3)}}


def hand_round(p, start, r, states, cond):
    """Round r of every trajectory, cut out by hand: (loss, metrics, end)."""
    first, last = r * NODES, (r + 1) * NODES
    targets = jnp.moveaxis(states[:, first + 1 : last + 1], 1, 0)
    times = jnp.tile(jnp.array(GRID[first : last + 1])[:, None], (1, B))
    loss, metrics, (end, _) = round_loss(STUDENT, p, (), start, targets, times, 0.0, cond, 0.5)
    return loss, metrics, end


def from_teacher(p, r, states, cond):
    return hand_round(p, states[:, r * NODES], r, states, cond)


@pytest.mark.parametrize("process", [PROCESS, LinearVP(), Table()], ids=repr)
def test_jump_scale_is_what_a_ddim_jump_makes_of_v(process):
    t, u = jnp.array([[0.9, 0.5, 0.3]]), jnp.array([[0.4, 0.0, 0.2]])
    x = jnp.array([[0.3, -2.0, 1.0]])

    def jump(v):
        return skip(process, from_output("v", v, x, process.alpha(t), process.sigma(t)), u)

    slope = jax.jvp(jump, (x,), (jnp.ones((1, 3)),))[1]
    np.testing.assert_allclose(jump_scale(process, t, u), jnp.abs(slope), rtol=1e-9)


def test_state_loss_is_in_units_of_v():
    anchor, times = jnp.full(2, 0.9), jnp.array([[0.5, 0.6], [0.1, 0.2]])
    targets, error = normal(2, 2, 3), normal(2, 2, 3, key=1)
    assert (state_loss(PROCESS, targets, targets, anchor, times) == 0).all()
    scale = jnp.sin((0.9 - times) * jnp.pi / 2)  # c of the cosine schedule
    off = targets + error * scale[..., None]
    loss = state_loss(PROCESS, off, targets, anchor, times)
    np.testing.assert_allclose(loss, jnp.mean(error**2, -1), rtol=1e-10)


def test_round_loss_vanishes_where_the_student_is_the_teacher():
    p, data = params(), batch()
    x, cond = data["states"][:, 0], data["cond"]
    times = jnp.tile(jnp.array(GRID[: NODES + 1])[:, None], (1, B))
    _, refined, _ = one_round(PROCESS, "noise", *STUDENT.slots(p), (), x, times, 0.0, cond)
    refined = refined.states
    loss, metrics, (end, _) = round_loss(STUDENT, p, (), x, refined, times, 0.0, cond, 0.0)
    np.testing.assert_allclose(loss, 0, atol=1e-20)
    np.testing.assert_array_equal(end, refined[-1])
    # The first refined state is the first draft; the others were moved away from theirs.
    weighted, _, _ = round_loss(STUDENT, p, (), x, refined, times, 0.0, cond, 2.0)
    np.testing.assert_allclose(weighted, 2 * metrics["draft"])
    assert (metrics["draft"] > 1e-4).all()
    moved = refined + 0.1
    rest = (moved, times, 0.0, cond, 2.0, 3.0)
    weighted, metrics, _ = round_loss(STUDENT, p, (), x, *rest)
    np.testing.assert_allclose(weighted, 2 * metrics["draft"] + 3 * metrics["refine"])


def test_teacher_forced_takes_one_whole_round_of_each_trajectory():
    p, data = params(), batch()
    rounds = jnp.stack([from_teacher(p, r, **data)[0] for r in range(ROUNDS)])
    objective = jax.jit(TeacherForced(STUDENT, GRID, ROUNDS, 0.5))
    taken = set()
    for seed in range(4):
        loss, metrics = objective(p, None, data, jax.random.key(seed))
        which = jnp.argmin(jnp.abs(rounds - loss), axis=0)
        np.testing.assert_allclose(loss, rounds[which, jnp.arange(B)], rtol=1e-9)
        assert metrics["end"].shape == (B,)
        taken |= {(int(r), i) for i, r in enumerate(which)}
    assert {r for r, _ in taken} == set(range(ROUNDS))
    assert len(taken) > B  # not the same round of a trajectory every time


def test_on_policy_walks_all_rounds_from_its_own_ends():
    p, data = params(), batch()
    x, losses = data["states"][:, 0], []
    for r in range(ROUNDS):
        loss, _, x = hand_round(p, x, r, **data)
        losses.append(loss)
    ours, metrics = OnPolicy(STUDENT, GRID, ROUNDS, 0.5)(p, None, data, KEY)
    np.testing.assert_allclose(ours, sum(losses) / ROUNDS, rtol=1e-9)
    np.testing.assert_allclose(0.5 * metrics["draft"] + metrics["refine"], ours, rtol=1e-9)


def test_gradients_run_from_a_round_into_the_one_before_only_where_they_are_let():
    p, data = params(), batch()

    def walk(q, between):
        x, total = data["states"][:, 0], 0.0
        for r in range(ROUNDS):
            loss, _, x = hand_round(q, x, r, **data)
            x, total = between(x), total + loss.mean() / ROUNDS
        return total

    def ours(**options):
        objective = OnPolicy(STUDENT, GRID, ROUNDS, 0.5, **options)
        return jax.grad(lambda q: objective(q, None, data, KEY)[0].mean())(p)

    same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8)
    cut, through = (jax.grad(walk)(p, GRADIENTS[name]) for name in ("stopped", "through"))
    jax.tree.map(same, ours(), cut)
    jax.tree.map(same, ours(between_rounds=GRADIENTS["through"]), through)
    assert not np.allclose(cut["refiner"]["w"], through["refiner"]["w"], rtol=1e-3)


def test_scan_and_python_loop_are_the_same_objective():
    p, data = params(), batch()
    results = [
        jax.value_and_grad(
            lambda q, s=loop.scan: OnPolicy(STUDENT, GRID, ROUNDS, 0.5, scan=s)(q, None, data, KEY)[
                0
            ].mean()
        )(p)
        for loop in (COMPILED, PYTHON)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), *results)
