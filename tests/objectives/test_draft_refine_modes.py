"""What the objectives mean to each kind of student: training and sampling walk the same rounds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.objectives.draft_refine import GRADIENTS, OnPolicy, TeacherForced, round_loss
from drf_jax.process.schedule import CosineVP
from drf_jax.sampling.ahead import AheadRefiner
from drf_jax.sampling.anchored import from_noise
from drf_jax.sampling.driffusion import make_rounds, sample
from drf_jax.sampling.grid import uniform
from drf_jax.sampling.learned import Aggressive, Anchored, Conservative

K, ROUNDS, B = 2, 3, 4
PROCESS = CosineVP()


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def normal(*shape, key=0):
    return jax.random.normal(jax.random.key(key), shape, jnp.float64)


@dataclasses.dataclass(frozen=True)
class Drafter:
    def apply(self, variables, x, t, targets, cond):
        w = variables["params"]["w"].reshape(K, 1, 1, 1)
        return jnp.tanh(w * x + (t + targets)[..., None, None] + cond["shift"][:, None, None])


@dataclasses.dataclass(frozen=True)
class Refiner:
    """``outputs`` K: of the drafts; 2 K, or with an anchor 2 K + 1: of the next round's too."""

    outputs: int

    def apply(self, variables, drafts, times, cond):
        together = drafts + variables["params"]["w"] * drafts.mean(0)
        p = jnp.sin(together + times[..., None, None] + cond["shift"][:, None, None])
        ahead = jnp.cos(variables["params"]["a"].reshape(K, 1, 1, 1) * p[-1])
        return jnp.concatenate([p, ahead])[: self.outputs]


REFINER = {"w": 0.7, "a": np.array([0.5, -1.5])}
STUDENTS = {
    "conservative": (
        Conservative(Drafter(), Refiner(K), PROCESS, "v", "noise", K),
        {"drafter": {"w": np.array([0.3, -0.8])}, "refiner": REFINER},
    ),
    "aggressive": (
        Aggressive(Refiner(2 * K), PROCESS, "v", "noise", K),
        {"network": REFINER},
    ),
    "anchored": (
        Anchored(Refiner(2 * K + 1), PROCESS, "v", "noise", K),
        {"network": REFINER},
    ),
}


def setting(name):
    """A student, its parameters and a batch's conditioning, in float64."""
    student, params = STUDENTS[name]
    return student, *jax.tree.map(jnp.asarray, (params, {"shift": np.array([0.1, -0.4, 0.9, 0.3])}))


def grid_of(student):
    return tuple(uniform(PROCESS, ROUNDS * student.steps).tolist())


def own_walk(student, params, cond):
    """The states of the student's own rounds, as if they were a teacher's trajectories."""
    drafter, refiner = student.slots(params)
    rounds = make_rounds(np.array(grid_of(student)), K, drafter.extra_steps)
    x = normal(B, 2, 2)
    made = sample(drafter, refiner, PROCESS, rounds, x, cond, form="noise", record=True)
    states = jnp.concatenate([x[None], made.trace.refined.reshape(-1, *x.shape)])
    return {"states": jnp.moveaxis(states, 0, 1), "cond": cond}


@pytest.mark.parametrize("name", STUDENTS)
def test_on_policy_walks_the_rounds_that_the_sampler_walks(name):
    student, params, cond = setting(name)
    objective = OnPolicy(student, grid_of(student), ROUNDS)
    batch = own_walk(student, params, cond)
    _, metrics = objective(params, None, batch, jax.random.key(0))
    np.testing.assert_allclose(metrics["refine"], 0, atol=1e-24)
    assert np.all(metrics["draft"] > 1e-4)
    moved = {**batch, "states": batch["states"] + 1e-3}
    assert np.all(objective(params, None, moved, jax.random.key(0))[1]["refine"] > 1e-8)


@pytest.mark.parametrize("name", ["aggressive", "anchored"])
def test_teacher_forced_remembers_a_call_at_the_teachers_states(name):
    student, params, cond = setting(name)
    m, anchored = student.steps, name == "anchored"
    grid = grid_of(student)
    states, times = normal(len(grid), B, 2, 2, key=5), np.array(grid)
    refiner = AheadRefiner(params["network"], student.network, PROCESS, "v")

    def by_hand(r):
        before = [max(r * m - m + (not anchored) + j, 0) for j in range(m)]
        at = lambda index: jnp.tile(jnp.asarray(times[np.array(index)])[:, None], (1, B))
        q = jax.tree.map(lambda leaf: leaf[m:], refiner(states[np.array(before)], at(before), cond))
        if anchored and r == 0:  # nothing was called before
            still = from_noise(PROCESS, states[0], at([0])[0])
            q = jax.tree.map(lambda leaf: jnp.stack([leaf] * K), still)
        index = list(range(r * m, r * m + m + 1))
        targets = states[np.array(index[1:])]
        rest = (targets, at(index), grid[-2], cond, 1.0)
        return round_loss(student, params, q, states[index[0]], *rest)[0]

    rounds = jnp.stack([by_hand(r) for r in range(ROUNDS)])
    batch = {"states": jnp.moveaxis(states, 0, 1), "cond": cond}
    taken = set()
    for seed in range(4):
        loss, _ = TeacherForced(student, grid, ROUNDS)(params, None, batch, jax.random.key(seed))
        which = np.argmin(np.abs(rounds - loss), axis=0)
        np.testing.assert_allclose(loss, rounds[which, np.arange(B)], rtol=1e-9)
        taken |= set(which.tolist())
    assert taken == set(range(ROUNDS))


def test_a_later_round_teaches_the_call_before_it():
    """The predictions ahead are trained through the drafts that are made of them."""
    student, params, cond = setting("aggressive")
    batch = own_walk(student, params, cond)
    batch["states"] = batch["states"] + 0.1
    loss = lambda p: OnPolicy(student, grid_of(student), ROUNDS)(p, None, batch, jax.random.key(0))[
        0
    ].mean()
    assert np.all(np.abs(jax.grad(loss)(params)["network"]["a"]) > 1e-6)


def test_the_gradient_through_the_drafts_can_be_stopped():
    student, params, cond = setting("conservative")
    grid, batch = grid_of(student), own_walk(student, params, cond)
    batch["states"] = batch["states"] + 0.1

    def gradient(name):
        objective = OnPolicy(student, grid, ROUNDS, 0.0, between=GRADIENTS[name])
        return jax.grad(lambda p: objective(p, None, batch, jax.random.key(0))[0].mean())(params)[
            "drafter"
        ]["w"]

    # Without a loss on the drafts themselves, the drafter learns through the refined states alone.
    assert np.all(np.abs(gradient("through")) > 1e-6)
    np.testing.assert_array_equal(gradient("stopped"), 0)
