"""Hybrids: what they cost, that nothing but the drafts is the student's, and how far the last step goes."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import pytree
from drf_jax.errors import UserError
from drf_jax.process.prediction import Prediction
from drf_jax.process.schedule import VE, CosineVP
from drf_jax.sampling import distilled, driffusion, serial
from drf_jax.sampling.distilled import DistilledDrafter
from drf_jax.sampling.loops import COMPILED, PYTHON
from drf_jax.sampling.refine import ParallelRefiner
from drf_jax.sampling.step import DDIM

K = 3


@pytree.register
@dataclasses.dataclass(frozen=True)
class Wrong:
    """A student that has learned nothing: the same prediction everywhere."""

    def __call__(self, x, t, cond=None):
        return Prediction(jnp.full_like(x, 0.7), jnp.full_like(x, -0.2))


def run(teacher, process, grid, x, refinements=1, form="data", student=None, **more):
    drafter = DistilledDrafter(student or Wrong())
    rounds = driffusion.make_rounds(grid, K, drafter.extra_steps)
    options = {"form": form, "refinements": refinements, "record": True, **more}
    return driffusion.sample(drafter, ParallelRefiner(teacher), process, rounds, x, **options)


@pytest.mark.parametrize("process", [CosineVP(), VE(10.0)], ids=repr)
@pytest.mark.parametrize("form", ["noise", "data"])
def test_m_refinements_make_m_states_the_teachers_whatever_is_drafted(setting, process, form):
    made = setting(process)
    exact = serial.trajectory(DDIM(), *made)
    for m in range(1, K + 2):
        found = run(*made, m, form)
        np.testing.assert_allclose(found.trace.refined[0, :m], exact[1 : m + 1], atol=1e-9)
    np.testing.assert_allclose(found.x, exact[-1], atol=1e-9)


def test_both_loops_sample_the_same(setting):
    made = setting()
    np.testing.assert_allclose(run(*made).x, run(*made, loop=PYTHON).x, atol=1e-12)


def test_drafts_lie_where_the_student_jumps_to(setting):
    _, process, grid, x = made = setting()
    found = run(*made)
    for j in range(K):
        expected = 0.7 * process.alpha(grid[j + 1]) - 0.2 * process.sigma(grid[j + 1])
        np.testing.assert_allclose(found.trace.drafts[0, j], jnp.full_like(x, expected), atol=1e-12)


def test_a_round_is_two_calls_and_evaluates_the_anchor_twice(setting):
    teacher, _, grid, _ = made = setting()
    found, rounds = run(*made, student=teacher), (len(grid) - 1) // (K + 1)
    assert set(found.sequential_calls.tolist()) == {2 * rounds}
    assert set(found.network_evaluations.tolist()) == {rounds * (1 + 1 + K)}


def hybrid(student, teacher, process, grid, x, **more):
    rounds = driffusion.make_rounds(grid, K, DistilledDrafter.extra_steps)
    return distilled.sample(student, teacher, process, rounds, x, **more)


@pytest.mark.parametrize("loop", [COMPILED, PYTHON], ids=["compiled", "python"])
@pytest.mark.parametrize("rounds", [1, 3])
def test_the_last_round_needs_one_draft_only(setting, loop, rounds):
    teacher, _, grid, x = made = setting(steps=rounds * (K + 1))
    whole = run(*made)
    found = hybrid(Wrong(), *made, loop=loop)
    np.testing.assert_allclose(found.x, whole.x, atol=1e-9)
    last, t = whole.trace.drafts[-1, -1], jnp.full(len(x), grid[-2])
    np.testing.assert_allclose(found.x, teacher(last, t).x0, atol=1e-9)
    assert set(found.sequential_calls.tolist()) == {2 * rounds}
    assert set(found.network_evaluations.tolist()) == {(rounds - 1) * (K + 2) + 2}


@pytest.mark.parametrize("rounds", [1, 3])
def test_relaxation_starts_from_the_student_s_x0_of_the_last_round(setting, rounds):
    made = setting(steps=rounds * (K + 1))
    plain = run(*made)
    for factor in (0.5, 1.6):
        found = hybrid(Wrong(), *made, relaxation=factor)
        np.testing.assert_allclose(found.x, 0.7 + factor * (plain.x - 0.7), atol=1e-9)


def test_relaxation_starts_where_the_student_was_asked_last(setting):
    teacher, _, grid, x = made = setting(steps=3 * (K + 1))
    plain = run(*made, student=teacher)
    anchor, t = plain.trace.refined[-2, -1], jnp.full(len(x), grid[-K - 2])
    said = teacher(anchor, t).x0
    found = hybrid(teacher, *made, relaxation=1.6)
    np.testing.assert_allclose(found.x, said + 1.6 * (plain.x - said), atol=1e-9)


@pytest.mark.parametrize("loop", [COMPILED, PYTHON], ids=["compiled", "python"])
@pytest.mark.parametrize("rounds", [2, 3])
def test_a_student_that_ends_makes_the_image_from_where_the_teacher_came(setting, loop, rounds):
    teacher, _, grid, x = made = setting(steps=rounds * (K + 1))
    whole = run(*made, student=teacher)
    found = hybrid(teacher, *made, ends="student", loop=loop)
    anchor, t = whole.trace.refined[-2, -1], jnp.full(len(x), grid[-K - 2])
    np.testing.assert_allclose(found.x, teacher(anchor, t).x0, atol=1e-9)
    assert set(found.sequential_calls.tolist()) == {2 * rounds - 1}
    assert set(found.network_evaluations.tolist()) == {(rounds - 1) * (K + 2) + 1}


def test_who_ends_is_the_teacher_or_the_student(setting):
    with pytest.raises(UserError, match="ends = 'nobody': choose 'teacher' or 'student'"):
        hybrid(Wrong(), *setting(steps=2 * (K + 1)), ends="nobody")


@pytest.mark.parametrize("steps", [5, 6, 7])
def test_a_last_round_that_repeats_the_grid_s_end_has_fewer_drafts(setting, steps):
    teacher, *_ = made = setting(steps=steps)
    # Where the round is one step, the draft is the anchor: of a student whose x0 and ε are those of its state.
    student = teacher if steps == 5 else Wrong()
    expected = run(*made, student=student)
    np.testing.assert_allclose(hybrid(student, *made).x, expected.x, atol=1e-9)
