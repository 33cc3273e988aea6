import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import pytree
from drf_jax.errors import UserError
from drf_jax.objectives.progressive import (
    Progressive,
    halvings,
    implied_x0,
    stage_grid,
    two_step_target,
)
from drf_jax.process import weighting
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.prediction import Prediction, from_output
from drf_jax.process.schedule import VE, CosineVP, LinearVP, Process
from drf_jax.sampling.grid import karras, uniform
from drf_jax.sampling.serial import sample
from drf_jax.sampling.step import DDIM
from drf_jax.sampling.transition import skip

PROCESS = CosineVP()


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def draw(*shape, key=0):
    return jax.random.normal(jax.random.key(key), shape, jnp.float64)


def gaussian(process, std=0.5):
    return GaussianMixture(jnp.zeros((1, 3)), jnp.full(1, std), jnp.ones(1), process)


@pytree.register
@dataclasses.dataclass(frozen=True)
class Gains:
    """A linear student: x0 = gains[i] x at the i-th time of its grid."""

    gains: jax.Array
    grid: tuple = pytree.static()
    process: Process = pytree.static()

    def __call__(self, x, t, cond=None):
        grid = jnp.asarray(self.grid[:-1])
        i = jnp.argmin(jnp.abs(t[:, None] - grid), axis=1)
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        return from_output("x0", self.gains[i][:, None] * x, x, alpha, sigma)


@pytest.mark.parametrize("process", [PROCESS, LinearVP(), VE(20.0)], ids=repr)
def test_one_step_with_the_target_ends_where_two_of_the_teacher_do(process):
    z, t, s, u = draw(4, 3), jnp.full(4, 0.9), jnp.full(4, 0.6), jnp.full(4, 0.2)
    mixture = GaussianMixture(draw(5, 3, key=1), jnp.full(5, 0.3), jnp.full(5, 0.2), process)
    target = two_step_target(process, mixture, z, t, s, u, None)
    alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
    one = skip(process, Prediction(target, (z - alpha * target) / sigma), u)
    two = DDIM()(mixture, process, DDIM()(mixture, process, z, t, s), s, u)
    np.testing.assert_allclose(one, two, rtol=1e-9)
    assert jnp.abs(two - DDIM()(mixture, process, z, t, u)).max() > 1e-3


def test_at_the_end_of_the_grid_the_target_is_the_state_itself():
    z, end, t = draw(4, 3), draw(4, 3, key=1), jnp.full(4, 0.5)
    np.testing.assert_allclose(implied_x0(PROCESS, z, end, t, jnp.zeros(4)), end, rtol=1e-12)


@pytest.mark.parametrize("process", [PROCESS, VE(20.0)], ids=repr)
def test_stages_down_to_one_step_are_exact_for_a_linear_teacher(process):
    fine = karras(process, 4, 0.02) if isinstance(process, VE) else uniform(process, 4)
    x, x0 = process.sigma(fine[0]) * draw(4, 3), 0.5 * draw(4, 3, key=1)
    teacher = lambda params: gaussian(process)
    params, grid = None, tuple(fine.tolist())
    for steps in halvings(4):
        frozen, coarse = {"teacher": params, **stage_grid(np.array(grid))}, grid[::2]
        # The best gain is linear in the target: read it off a batch of ones.
        i = 2 * jnp.arange(steps)
        times = (jnp.asarray(grid)[i + j] for j in range(3))
        one = jnp.ones((steps, 3))
        gains = two_step_target(process, teacher(params), one, *times, None)[:, 0]
        student = lambda gains, coarse=coarse: Gains(gains, coarse, process)
        loss = jax.jit(Progressive(student, teacher, process))
        batch, key = {"x0": x0, "cond": None}, jax.random.key(steps)
        np.testing.assert_allclose(loss(gains, frozen, batch, key)[0], 0, atol=1e-16)
        assert (loss(1.1 * gains, frozen, batch, key)[0] > 1e-6).all()
        teacher, params, grid = student, gains, coarse
    assert len(grid) == 2
    one_step = sample(DDIM(), teacher(params), process, np.array(grid), x)
    serial = sample(DDIM(), gaussian(process), process, fine, x)
    np.testing.assert_allclose(one_step, serial, rtol=1e-8)


def test_the_error_is_weighted_by_the_truncated_snr():
    grid, key = tuple(uniform(PROCESS, 8).tolist()), jax.random.key(0)
    student = lambda gain: Gains(jnp.full(4, gain), grid[::2], PROCESS)
    batch = {"x0": draw(64, 3), "cond": None}

    def run(weight):
        f = Progressive(student, lambda _: gaussian(PROCESS), PROCESS, weight)
        frozen = {"teacher": None, **stage_grid(np.array(grid))}
        return jax.jit(f)(jnp.float64(0.4), frozen, batch, key)

    plain, metrics = run(weighting.x0)
    np.testing.assert_array_equal(plain, metrics["x0_error"])
    truncated, _ = run(weighting.truncated_snr)
    snr = [PROCESS.alpha(t) ** 2 / PROCESS.sigma(t) ** 2 for t in grid[:-1:2]]
    weights = np.maximum(snr, 1)
    found = np.unique(np.round(np.asarray(truncated / plain), 6))
    np.testing.assert_allclose(found, np.unique(np.round(weights, 6)))


def test_halvings_are_the_stages():
    assert halvings(8) == (4, 2, 1)
    assert halvings(48, 3) == (24, 12, 6, 3)
    for steps, last in ((12, 1), (8, 8), (8, 3), (8, 0)):
        with pytest.raises(UserError, match="progressive distillation"):
            halvings(steps, last)
    with pytest.raises(UserError, match="3 steps; must be even"):
        stage_grid(np.array([0.9, 0.5, 0.2, 0.0]))
    with pytest.raises(UserError, match="4098 steps; at most 4096 are possible"):
        stage_grid(np.linspace(1, 0, 4099))
