import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax import pytree
from drf_jax.errors import UserError
from drf_jax.objectives.consistency import (
    Consistency,
    TeacherStep,
    equal,
    inverse_gap,
    same_noise,
)
from drf_jax.objectives.discretisation import Discretisation, uniform
from drf_jax.objectives.distance import squared
from drf_jax.process.boundary import ConsistencyBoundary
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.preconditioning import coefficients
from drf_jax.process.prediction import expand, from_output
from drf_jax.process.schedule import VE, CosineVP, Process
from drf_jax.sampling.step import DDIM, Heun

STD, SIGMA_MIN = 0.6, 0.02
PROCESSES = [VE(10.0), CosineVP(0.95)]
KEY = jax.random.key(3)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytree.register
@dataclasses.dataclass(frozen=True)
class Exact:
    """The denoiser whose consistency function is ``scale`` times the exact one of N(0, STD²) data."""

    scale: jax.Array
    process: Process = pytree.static()

    def __call__(self, x, t, cond=None):
        boundary = ConsistencyBoundary(SIGMA_MIN)
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        level = expand(sigma / alpha, x)
        c_skip, _ = boundary.scalings(level)
        edm_skip, _, _ = coefficients(level)
        shrink = jnp.sqrt((STD**2 + SIGMA_MIN**2) / (STD**2 + level**2))
        above = jnp.where(level > 1.0001 * SIGMA_MIN, 1 - SIGMA_MIN / level, 1)
        x0 = (edm_skip + (self.scale * shrink - c_skip) / above) * x / expand(alpha, x)
        return from_output("x0", x0, x, alpha, sigma)


@pytree.register
@dataclasses.dataclass(frozen=True)
class Curved:
    """A network that is no consistency function yet: v = sin(w x + t)."""

    w: jax.Array
    process: Process = pytree.static()

    def __call__(self, x, t, cond=None):
        out = jnp.sin(self.w * x + t[:, None])
        return from_output("v", out, x, self.process.alpha(t), self.process.sigma(t))


def data(b=6, m=8):
    x0 = STD * jax.random.normal(jax.random.key(0), (b, 3), jnp.float64)
    return {"x0": x0, "cond": None, "intervals": jnp.full(b, m, jnp.int32)}


def objective(process, model, neighbour=same_noise, **options):
    cut = Discretisation(process, SIGMA_MIN)
    options = {"proposal": uniform, "distance": squared, "weighting": equal, **options}
    return Consistency(lambda params: model(params, process), cut, neighbour, **options)


def exact_teacher(process):
    mixture = GaussianMixture(jnp.zeros((1, 3)), jnp.full(1, STD), jnp.ones(1), process)
    return lambda params: mixture


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize(("solver", "low", "high"), [(DDIM(), 12, 20), (Heun(), 40, 90)])
def test_distilling_the_exact_function_vanishes_at_the_solvers_order(process, solver, low, high):
    """The local error of an order-p solver is O(h^{p+1}); its square falls by 2^{2p+2} when h is halved."""
    f = objective(process, Exact, TeacherStep(exact_teacher(process), solver))
    f = jax.jit(f)
    loss = lambda m: f(jnp.float64(1), {"teacher": None}, data(3000, m), KEY)[0].mean()
    coarse, fine = loss(64), loss(128)
    assert fine < 1e-5
    assert low < coarse / fine < high


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_training_is_best_at_the_exact_function(process):
    f = objective(process, Exact, target="ema")
    f, batch = jax.jit(f), data(3000, 32)
    loss = lambda scale: f(scale, {"target": jnp.float64(1)}, batch, KEY)[0].mean()
    assert loss(jnp.float64(1)) < min(loss(jnp.float64(0.9)), loss(jnp.float64(1.1)))


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_the_loss_by_hand(process):
    f, batch = objective(process, Curved, weighting=inverse_gap), data(m=1)
    # With one interval there is one pair: from the largest level to the smallest.
    loss, metrics = f(jnp.float64(0.7), {}, batch, KEY)
    cut, g = f.cut, f.function(jnp.float64(0.7))
    top, bottom = (cut.sigma(jnp.full(6, i), batch["intervals"]) for i in (1, 0))
    eps = jax.random.normal(jax.random.split(KEY)[1], (6, 3), jnp.float64)
    noised = lambda t: process.alpha(t)[:, None] * batch["x0"] + process.sigma(t)[:, None] * eps
    t, s = cut.time(top), cut.time(bottom)
    error = squared(g(noised(t), t), noised(s))  # f is the identity at the smallest level
    np.testing.assert_allclose(metrics["distance"], error, rtol=1e-7)
    np.testing.assert_allclose(loss, error / (top - bottom), rtol=1e-7)


def test_a_perceptual_part_is_the_distance_of_the_two_ends_in_the_maps():
    features = lambda params, image: (jnp.tanh(params * image), image**2)
    options = {"weighting": inverse_gap, "perceptual_weight": 0.5, "features": features}
    plain = objective(PROCESSES[1], Curved, weighting=inverse_gap)
    f, batch, w = objective(PROCESSES[1], Curved, **options), data(m=1), jnp.float64(0.7)
    frozen = {"features": jnp.float64(2.0)}
    loss, metrics = f(w, frozen, batch, KEY)
    alone, without = plain(w, frozen, batch, KEY)
    np.testing.assert_array_equal(metrics["distance"], without["distance"])
    cut, g, b = f.cut, f.function(w), batch["intervals"]
    t, s = (cut.time(cut.sigma(jnp.full(6, i), b)) for i in (1, 0))
    eps = jax.random.normal(jax.random.split(KEY)[1], (6, 3), jnp.float64)
    process = PROCESSES[1]
    noised = lambda t: process.alpha(t)[:, None] * batch["x0"] + process.sigma(t)[:, None] * eps
    ends = [g(noised(t), t), g(noised(s), s)]
    unit = lambda a: a / jnp.linalg.norm(a, axis=-1, keepdims=True)
    maps = [[unit(m) for m in features(2.0, end)] for end in ends]
    seen = sum(((a - b) ** 2).sum(-1) for a, b in zip(*maps, strict=True))
    np.testing.assert_allclose(metrics["perceptual"], seen, rtol=1e-5)
    np.testing.assert_allclose(loss / alone, 1 + 0.5 * seen / without["distance"], rtol=1e-5)


def test_targets_have_the_same_value_and_their_own_gradients():
    w, batch = jnp.float64(0.7), data()

    def run(target, ema=0.7):
        f = objective(PROCESSES[0], Curved, target=target)
        return jax.value_and_grad(
            lambda w, e: f(w, {"target": e}, batch, KEY)[0].mean(), argnums=(0, 1)
        )(w, jnp.float64(ema))

    stopped, ema, both = run("stop_gradient"), run("ema"), run("self")
    np.testing.assert_allclose(stopped[0], ema[0])
    np.testing.assert_allclose(stopped[0], both[0])
    np.testing.assert_allclose(stopped[1][0], ema[1][0])
    assert ema[1][1] == 0
    assert abs(both[1][0] - stopped[1][0]) > 1e-4
    assert abs(run("ema", 0.2)[0] - ema[0]) > 1e-6  # the average is read where it is asked for
    np.testing.assert_array_equal(run("stop_gradient", 0.2)[0], stopped[0])
    with pytest.raises(
        UserError, match="target = 'teacher': choose one of stop_gradient, ema, self"
    ):
        objective(PROCESSES[0], Curved, target="teacher")


def test_one_compiled_objective_serves_every_number_of_intervals():
    f = jax.jit(objective(PROCESSES[1], Curved))
    losses = [f(jnp.float64(0.7), {}, data(m=m), KEY)[0] for m in (2, 4, 400)]
    assert f._cache_size() == 1
    assert losses[0].mean() > 100 * losses[2].mean()  # neighbours get closer
