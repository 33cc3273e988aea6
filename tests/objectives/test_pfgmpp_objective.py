"""EDM's and PFGM++'s training: `Denoising` with log-normal times, EDM's weight and output, and the process's noise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.objectives.denoising import Denoising
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.pfgmpp import PFGMPP
from drf_jax.process.schedule import VE
from drf_jax.process.time import log_normal
from drf_jax.process.weighting import edm

KEY = jax.random.key(4)
POINTS = jnp.array([[-1.0, 0.5], [0.7, 0.7], [0.2, -1.0]])


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@dataclasses.dataclass(frozen=True)
class Toy:
    """A network ``f(params, x, σ)``; it is given c_noise = ln(σ) / 4."""

    f: object

    def apply(self, variables, x, t, cond):
        return self.f(variables["params"], x, jnp.exp(4 * t))


def training(f, process, output="x0"):
    return Denoising(Toy(f), process, output, edm, log_normal)


def test_an_untrained_edm_network_of_unit_scale_has_loss_one():
    """The weight makes the loss the plain error in F, which is the target's variance, 1, for F = 0."""
    x0 = 0.5 * jax.random.normal(jax.random.key(0), (20_000, 2), jnp.float64)
    objective = training(lambda params, x, sigma: jnp.zeros_like(x), VE(), "edm")
    loss, _ = objective({}, None, {"x0": x0, "cond": None}, KEY)
    assert loss.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("dimensions", [2.0, 1e7])
def test_the_exact_denoiser_of_the_kernel_has_the_smallest_loss(dimensions):
    """For few dimensions the posterior mean of the Student kernel beats the Gaussian one; for many they agree."""
    x0 = POINTS[jax.random.randint(jax.random.key(0), (20_000,), 0, 3)]

    def student(scale, x, sigma):
        distance2 = jnp.sum((x[:, None] - POINTS) ** 2, -1)
        power = -(2 + dimensions) / 2 * jnp.log1p(distance2 / (sigma**2 * dimensions)[:, None])
        return scale * jax.nn.softmax(power) @ POINTS

    mixture = GaussianMixture(POINTS, jnp.full(3, 1e-6), jnp.ones(3) / 3, VE())
    normal = lambda scale, x, sigma: scale * mixture(x, sigma).x0

    def error(f, scale):
        objective = training(f, PFGMPP(dimensions=dimensions))
        _, metrics = objective(jnp.float64(scale), None, {"x0": x0, "cond": None}, KEY)
        return float(metrics["x0_error"].mean())

    exact = error(student, 1)
    assert exact < min(error(student, 0.95), error(student, 1.05))
    if dimensions == 2:
        assert exact < error(normal, 1) - 0.003
    else:
        assert exact == pytest.approx(error(normal, 1), rel=1e-4)


def test_the_loss_of_many_dimensions_is_edms():
    x0 = jax.random.normal(jax.random.key(0), (50, 2))
    f = lambda params, x, sigma: jnp.tanh(x)
    loss = lambda process: training(f, process, "edm")({}, None, {"x0": x0, "cond": None}, KEY)[0]
    gap = lambda d: np.max(np.abs(loss(PFGMPP(dimensions=d)) / loss(VE()) - 1))
    assert gap(1e12) < 1e-4 < gap(100.0)
