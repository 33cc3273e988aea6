"""EDM's samplers: Alg. 1 and Alg. 2 against stored trajectories, and what churn must keep."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.process import preconditioning
from drf_jax.process.gaussian import prior
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.schedule import VE, CosineVP, LinearVP, RectifiedFlow
from drf_jax.process.table import Table
from drf_jax.process.weighting import WEIGHTINGS
from drf_jax.sampling import serial
from drf_jax.sampling.edm import EDM, churn, churn_gamma
from drf_jax.sampling.grid import karras, uniform
from drf_jax.sampling.loops import PYTHON
from drf_jax.sampling.step import DDIM, Euler, Heun, evaluations

PROCESSES = [CosineVP(), LinearVP(), VE(10.0), RectifiedFlow(), Table()]


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("steps", [5, 18])
@pytest.mark.parametrize(
    ("name", "step"), [("heun", Heun()), ("heun", EDM()), ("euler", Euler()), ("euler", DDIM())]
)
def test_deterministic_golden(golden, name, step, steps):
    z, process = golden.load("edm"), VE()
    g = karras(process, steps)
    np.testing.assert_allclose(g, z[f"{steps}/sigmas"], rtol=1e-13)
    x = prior(process, jnp.asarray(z["unit_noise"]), g[0])
    ours = serial.trajectory(step, golden.mixture(z, process), process, g, x, loop=PYTHON)
    assert golden.error(ours, z[f"{steps}/{name}/traj"]) < 1e-10


@pytest.mark.parametrize("steps", [5, 18])
def test_float32_golden(golden, steps):
    with jax.enable_x64(False):
        z, process = golden.load("edm"), VE()
        g = karras(process, steps)
        x = prior(process, jnp.asarray(z["unit_noise"], jnp.float32), g[0])
        ours = serial.sample(Euler(), golden.mixture(z, process), process, g, x)
        theirs = z[f"{steps}/diffusers_edm_euler/last32"]
        sigmas, c_noise = (z[f"{steps}/diffusers_edm_euler/{k}"] for k in ("sigmas32", "c_noise32"))
        np.testing.assert_allclose(process.network_time(sigmas[:-1]), c_noise, atol=1e-6)
    assert golden.error(ours, theirs) < 2e-4


def test_heun_golden_on_the_grid_of_another_package(golden):
    z, process = golden.load("edm"), VE()
    g = z["18/diffusers_heun/sigmas"]
    x = g[0] * jnp.asarray(z["unit_noise"])
    ours = serial.sample(EDM(), golden.mixture(z, process), process, g, x)
    assert golden.error(ours, z["18/diffusers_heun/last"]) < 1e-10


def test_churn_golden(golden):
    z, process = golden.load("edm"), VE()
    assert "S_churn" in str(z["churn_18/args"])
    step = EDM(churn_gamma(40.0, 18), s_min=0.05, s_max=50.0, s_noise=1.003)
    denoiser, g = golden.mixture(z, process), z["churn_18/sigmas"]
    states = [g[0] * jnp.asarray(z["unit_noise"])]
    for i, (t, s) in enumerate(itertools.pairwise(g)):
        now = step if i < 17 else step.final
        noise = jnp.asarray(z["churn_18/noise"][i])
        states.append(
            serial.advance(
                now, process, denoiser, states[-1], jnp.asarray(t), jnp.asarray(s), None, noise
            )
        )
    assert golden.error(jnp.stack(states), z["churn_18/traj"]) < 1e-10


def test_preconditioning_golden(golden):
    z = golden.load("edm")
    sigma = z["precond/sigma"]
    for name, ours in zip(
        ("c_skip", "c_out", "c_in"), preconditioning.coefficients(jnp.asarray(sigma)), strict=True
    ):
        np.testing.assert_allclose(ours, z[f"precond/{name}"], rtol=1e-12)
    np.testing.assert_allclose(VE().network_time(sigma), z["precond/c_noise"], rtol=1e-12)
    weight = WEIGHTINGS["edm"](VE().log_snr(jnp.asarray(sigma)))
    np.testing.assert_allclose(weight, z["precond/weight"], rtol=1e-12)


def test_denoiser_golden(golden):
    z, process = golden.load("edm"), VE()
    x = jnp.asarray(z["denoiser/x"])
    for sigma, stored in zip(z["denoiser/sigma"], z["denoiser/D"], strict=True):
        ours = golden.mixture(z, process)(x, jnp.full(len(x), sigma)).x0
        assert golden.error(ours, stored) < 1e-12


def test_gamma_is_capped():
    assert churn_gamma(40.0, 18) == pytest.approx(2**0.5 - 1)
    assert churn_gamma(1.8, 18) == pytest.approx(0.1)
    with pytest.raises(UserError, match=r"gamma = 0\.5"):
        EDM(0.5)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_churn_keeps_the_marginals(process):
    # A noised x0 of variance v has variance α² v + σ² at every time, after churn too.
    t, step = jnp.full(200_000, 0.4 * process.t_max), EDM(0.4)
    up = step.raised(process, t)
    assert np.all(up > t)
    a, s = process.alpha(t), process.sigma(t)
    x0, eps, z = jax.random.normal(jax.random.key(0), (3, 200_000), jnp.float64)
    x = churn(process, a * 0.7 * x0 + s * eps, t, up, 1.0, z)
    expected = (0.7 * process.alpha(up)) ** 2 + process.sigma(up) ** 2
    np.testing.assert_allclose(jnp.var(x), expected[0], rtol=0.02)
    ratio = process.sigma(up) / process.alpha(up) / (s / a)
    np.testing.assert_allclose(ratio, 1.4, rtol=2e-3)


def test_levels_outside_the_range_are_not_churned():
    step = EDM(0.4, s_min=0.1, s_max=5.0)
    t = jnp.array([0.05, 0.1, 1.0, 5.0, 6.0])
    np.testing.assert_allclose(step.raised(VE(), t) / t, [1, 1.4, 1.4, 1.4, 1], rtol=1e-12)
    np.testing.assert_allclose(EDM(0.4).raised(VE(6.0), t)[-1], 6.0)


@pytest.mark.parametrize("process", [CosineVP(), VE(10.0), RectifiedFlow()], ids=repr)
def test_samples_reach_the_moments_of_the_data(process):
    denoiser = GaussianMixture(jnp.full((1, 2), 0.3), jnp.array([0.6]), jnp.ones(1), process)
    keys = jax.random.split(jax.random.key(2), 4000)
    x = prior(process, jax.random.normal(jax.random.key(0), (4000, 2), jnp.float64))
    step = EDM(churn_gamma(20.0, 100), s_noise=1.0)
    out = serial.sample(step, denoiser, process, uniform(process, 100), x, keys=keys)
    np.testing.assert_allclose(out.mean(0), 0.3, atol=0.04)
    np.testing.assert_allclose(out.std(0), 0.6, atol=0.04)


@pytest.mark.parametrize("process", [CosineVP(), RectifiedFlow(0.99)], ids=repr)
def test_without_churn_the_step_has_order_two(process):
    denoiser = GaussianMixture(jnp.full((1, 2), 0.3), jnp.array([0.6]), jnp.ones(1), process)
    top, end = 0.8 * process.t_max, 0.2 * process.t_max
    x = prior(process, jax.random.normal(jax.random.key(1), (5, 2), jnp.float64), top)
    ends = []
    for n in (16, 32, 64):
        g = np.append(np.linspace(top, end, n + 1), end * 0.999)
        ends.append(serial.trajectory(EDM(), denoiser, process, g, x, loop=PYTHON)[-2])
    slope = np.log2(np.abs(ends[0] - ends[1]).max() / np.abs(ends[1] - ends[2]).max())
    np.testing.assert_allclose(slope, 2, atol=0.2)


def test_cost_and_keys():
    assert evaluations(EDM(0.2), 18) == 35
    assert EDM(0.2).stochastic and not EDM().stochastic
    process = VE()
    denoiser = GaussianMixture(jnp.zeros((1, 2)), jnp.ones(1), jnp.ones(1), process)
    with pytest.raises(UserError, match="one key per sample"):
        serial.sample(EDM(0.2), denoiser, process, karras(process, 5), jnp.ones((1, 2)))
