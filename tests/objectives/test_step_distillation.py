import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import pytree
from drf_jax.objectives.draft_refine import state_loss
from drf_jax.objectives.step_distillation import OnPolicy, TeacherForced, span_loss
from drf_jax.objectives.terms import Term
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.prediction import from_output
from drf_jax.process.schedule import CosineVP, Process
from drf_jax.sampling.grid import uniform
from drf_jax.sampling.loops import COMPILED, PYTHON
from drf_jax.sampling.serial import sample, trajectory
from drf_jax.sampling.step import DDIM

PROCESS, B, N = CosineVP(), 5, 3
GRID = uniform(PROCESS, N)
TIMES = tuple(GRID.tolist())
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytree.register
@dataclasses.dataclass(frozen=True)
class V:
    """A student: v = tanh(w x + t + shift)."""

    w: jax.Array
    process: Process = pytree.static()

    def __call__(self, x, t, cond=None):
        out = jnp.tanh(self.w * x + (t + cond["shift"])[:, None])
        return from_output("v", out, x, self.process.alpha(t), self.process.sigma(t))


def student(w):
    return V(w, PROCESS)


def draw(*shape, key=0):
    return jax.random.normal(jax.random.key(key), shape, jnp.float64)


def batch():
    return {"states": draw(B, N + 1, 4), "cond": {"shift": draw(B, key=1)}}


def spans(w, start, states, cond):
    """Loss of every span by hand, ``[N, b]``, the next one from ``start(end, teacher's state)``."""
    x, losses = states[:, 0], []
    for i in range(N):
        t, u = (jnp.full(B, GRID[j]) for j in (i, i + 1))
        loss, _, end = span_loss(PROCESS, student(w), x, states[:, i + 1], t, u, cond)
        losses.append(loss)
        x = start(end, states[:, i + 1])
    return jnp.stack(losses)


def test_teacher_forced_takes_one_span_of_each_trajectory():
    data = batch()
    every = spans(jnp.float64(0.8), lambda end, state: state, **data)
    objective, taken = jax.jit(TeacherForced(student, PROCESS, TIMES)), set()
    for seed in range(6):
        loss, _ = objective(jnp.float64(0.8), None, data, jax.random.key(seed))
        which = jnp.argmin(jnp.abs(every - loss), axis=0)
        np.testing.assert_allclose(loss, every[which, jnp.arange(B)], rtol=1e-10)
        taken |= {(int(i), row) for row, i in enumerate(which)}
    assert {i for i, _ in taken} == set(range(N)) and len(taken) > B


def test_on_policy_walks_all_spans_from_its_own_ends():
    data = batch()
    every = spans(jnp.float64(0.8), lambda end, state: end, **data)
    for loop in (COMPILED, PYTHON):
        loss, metrics = OnPolicy(student, PROCESS, TIMES, scan=loop.scan)(
            jnp.float64(0.8), None, data, jax.random.key(0)
        )
        np.testing.assert_allclose(loss, every.mean(0), rtol=1e-10)
        np.testing.assert_allclose(metrics["end"], every[-1], rtol=1e-10)


def far(frozen, walked):
    """The main loss again, times what is frozen: of a round of one state."""
    assert walked.states.shape[0] == walked.targets.shape[0] == len(walked.times) - 1 == 1
    return frozen * state_loss(
        PROCESS, walked.states, walked.targets, walked.times[0], walked.times[1:]
    ).mean(0)


@pytest.mark.parametrize("objective", [TeacherForced, OnPolicy])
def test_further_terms_are_added_with_their_weights(objective):
    data, w = batch(), jnp.float64(0.8)
    plain, _ = objective(student, PROCESS, TIMES)(w, None, data, KEY)
    more, metrics = objective(student, PROCESS, TIMES, (Term("far", 0.5, far),))(w, 3.0, data, KEY)
    np.testing.assert_allclose(more, 2.5 * plain, rtol=1e-10)
    np.testing.assert_allclose(metrics["far"], 3 * plain, rtol=1e-10)


def test_no_gradient_runs_from_a_span_into_the_one_before():
    data = batch()
    ours = jax.grad(lambda w: OnPolicy(student, PROCESS, TIMES)(w, None, data, KEY)[0].mean())
    cut = jax.grad(lambda w: spans(w, lambda end, _: jax.lax.stop_gradient(end), **data).mean())
    through = jax.grad(lambda w: spans(w, lambda end, _: end, **data).mean())
    w = jnp.float64(0.8)
    np.testing.assert_allclose(ours(w), cut(w), rtol=1e-9)
    assert abs(cut(w) - through(w)) > 1e-4


def test_a_student_without_loss_is_the_teacher_on_the_coarse_grid():
    """For Gaussian data a DDIM walk of any length is one linear map, which a student's step can be."""
    mixture = GaussianMixture(jnp.zeros((1, 4)), jnp.full(1, 0.5), jnp.ones(1), PROCESS)
    x = draw(B, 4)
    fine = uniform(PROCESS, 8 * N)
    states = jnp.moveaxis(trajectory(DDIM(), mixture, PROCESS, fine, x, every=8), 0, 1)
    slopes = states[0, 1:, 0] / states[0, :-1, 0]

    @pytree.register
    @dataclasses.dataclass(frozen=True)
    class Linear:
        shift: jax.Array

        def __call__(self, x, t, cond=None):
            i = jnp.round((1 - t / PROCESS.t_max) * N).astype(int)
            u = jnp.asarray(GRID)[i + 1]
            # x_u = α_u x0 + σ_u ε with ε = (x − α x0)/σ must be slope · x.
            ratio = PROCESS.sigma(u) / PROCESS.sigma(t)
            gain = (slopes[i] - ratio) / (PROCESS.alpha(u) - ratio * PROCESS.alpha(t)) + self.shift
            alpha, sigma = PROCESS.alpha(t), PROCESS.sigma(t)
            return from_output("x0", gain[:, None] * x, x, alpha, sigma)

    data, key = {"states": states, "cond": None}, jax.random.key(1)
    for objective in (TeacherForced, OnPolicy):
        loss = lambda shift, f=objective: f(Linear, PROCESS, TIMES)(shift, None, data, key)[0]
        np.testing.assert_allclose(loss(jnp.float64(0)), 0, atol=1e-20)
        assert loss(jnp.float64(0.1)).min() > 1e-6
    walked = sample(DDIM(), Linear(jnp.float64(0)), PROCESS, GRID, x)
    np.testing.assert_allclose(walked, states[:, -1], rtol=1e-9)
