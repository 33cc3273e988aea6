"""A hybrid's drafter: what a round costs, and that nothing but the drafts is the student's."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import pytree
from drf_jax.process.gaussian import prior
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.prediction import Prediction
from drf_jax.process.schedule import VE, CosineVP
from drf_jax.sampling import driffusion, grid, serial
from drf_jax.sampling.distilled import DistilledDrafter
from drf_jax.sampling.loops import COMPILED, PYTHON
from drf_jax.sampling.refine import ParallelRefiner
from drf_jax.sampling.step import DDIM

N, K = 12, 3


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytree.register
@dataclasses.dataclass(frozen=True)
class Wrong:
    """A student that has learned nothing: the same prediction everywhere."""

    def __call__(self, x, t, cond=None):
        return Prediction(jnp.full_like(x, 0.7), jnp.full_like(x, -0.2))


def setting(process):
    means = jax.random.uniform(jax.random.key(0), (5, 2, 3), jnp.float64, -1, 1)
    teacher = GaussianMixture(means, jnp.full(5, 0.3), jnp.full(5, 0.2), process)
    g = grid.uniform(process, N)
    x = prior(process, jax.random.normal(jax.random.key(1), (4, 2, 3), jnp.float64), g[0])
    return teacher, g, x, serial.trajectory(DDIM(), teacher, process, g, x)


def run(process, student, teacher, g, x, refinements, form="data"):
    drafter = DistilledDrafter(student)
    rounds = driffusion.make_rounds(g, K, drafter.extra_steps)
    options = {"form": form, "refinements": refinements, "record": True}
    return driffusion.sample(drafter, ParallelRefiner(teacher), process, rounds, x, **options)


@pytest.mark.parametrize("process", [CosineVP(), VE(10.0)], ids=repr)
@pytest.mark.parametrize("form", ["noise", "data"])
def test_m_refinements_make_m_states_the_teachers_whatever_is_drafted(process, form):
    teacher, g, x, exact = setting(process)
    for m in range(1, K + 2):
        made = run(process, Wrong(), teacher, g, x, m, form)
        np.testing.assert_allclose(made.trace.refined[0, :m], exact[1 : m + 1], atol=1e-9)
    np.testing.assert_allclose(made.x, exact[-1], atol=1e-9)


def test_the_image_is_the_teachers_x0_at_the_last_draft():
    process = CosineVP()
    teacher, g, x, _ = setting(process)
    made = run(process, Wrong(), teacher, g, x, 1)
    last, t = made.trace.drafts[-1, -1], jnp.full(len(x), g[-2])
    np.testing.assert_allclose(made.x, teacher(last, t).x0, atol=1e-9)


def test_both_loops_sample_the_same():
    process = CosineVP()
    teacher, g, x, _ = setting(process)
    rounds = driffusion.make_rounds(g, K, DistilledDrafter.extra_steps)
    draw = lambda loop: driffusion.sample(
        DistilledDrafter(Wrong()), ParallelRefiner(teacher), process, rounds, x, loop=loop
    )
    np.testing.assert_allclose(draw(COMPILED).x, draw(PYTHON).x, atol=1e-12)


def test_drafts_lie_where_the_student_jumps_to():
    process = CosineVP()
    teacher, g, x, _ = setting(process)
    made = run(process, Wrong(), teacher, g, x, 1)
    for j in range(K):
        t = g[j + 1]
        expected = 0.7 * process.alpha(t) - 0.2 * process.sigma(t)
        np.testing.assert_allclose(made.trace.drafts[0, j], jnp.full_like(x, expected), atol=1e-12)


def test_a_round_is_two_calls_and_evaluates_the_anchor_twice():
    process = CosineVP()
    teacher, g, x, _ = setting(process)
    made = run(process, teacher, teacher, g, x, 1)
    rounds = N // (K + 1)
    assert set(made.sequential_calls.tolist()) == {2 * rounds}
    assert set(made.network_evaluations.tolist()) == {rounds * (1 + 1 + K)}
