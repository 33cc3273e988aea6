"""A hybrid's drafter: what a round costs, and that nothing but the drafts is the student's."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import pytree
from drf_jax.process.prediction import Prediction
from drf_jax.process.schedule import VE, CosineVP
from drf_jax.sampling import driffusion, serial
from drf_jax.sampling.distilled import DistilledDrafter, relaxed
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


def test_the_image_is_the_teachers_x0_at_the_last_draft(setting):
    teacher, _, grid, x = made = setting()
    found = run(*made)
    last, t = found.trace.drafts[-1, -1], jnp.full(len(x), grid[-2])
    np.testing.assert_allclose(found.x, teacher(last, t).x0, atol=1e-9)


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


def test_a_factor_goes_so_many_times_as_far():
    x, x0 = jnp.array([[3.0, 1.0]]), jnp.array([[1.0, 2.0]])
    assert relaxed(1.0, x, x0) is x
    np.testing.assert_allclose(relaxed(1.5, x, x0), [[4.0, 0.5]])
    np.testing.assert_allclose(relaxed(0.5, x, x0), [[2.0, 1.5]])


@pytest.mark.parametrize("loop", [COMPILED, PYTHON], ids=["compiled", "python"])
@pytest.mark.parametrize("rounds", [1, 3])
def test_relaxation_starts_from_the_drafter_s_x0_of_the_last_round(setting, loop, rounds):
    teacher, _, grid, x = made = setting(steps=rounds * (K + 1))
    plain = run(*made, student=teacher)
    anchor = plain.trace.refined[-2, -1] if rounds > 1 else x
    said = teacher(anchor, jnp.full(len(x), grid[-K - 2])).x0
    found = run(*made, student=teacher, loop=loop, finish=functools.partial(relaxed, 1.6))
    np.testing.assert_allclose(found.x, said + 1.6 * (plain.x - said), atol=1e-9)
    np.testing.assert_array_equal(found.sequential_calls, plain.sequential_calls)
