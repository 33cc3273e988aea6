"""The anchored mode on an exact denoiser: what it costs, and that its anchor's step is the serial sampler's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.process.gaussian import prior
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.schedule import VE, CosineVP
from drf_jax.sampling import driffusion, grid, serial
from drf_jax.sampling.anchored import AnchoredDrafter, from_noise
from drf_jax.sampling.refine import ParallelRefiner
from drf_jax.sampling.step import DDIM

N, K = 12, 3


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def setting(process):
    means = jax.random.uniform(jax.random.key(0), (5, 2, 3), jnp.float64, -1, 1)
    denoiser = GaussianMixture(means, jnp.full(5, 0.3), jnp.full(5, 0.2), process)
    g = grid.uniform(process, N)
    x = prior(process, jax.random.normal(jax.random.key(1), (4, 2, 3), jnp.float64), g[0])
    return denoiser, g, x, serial.trajectory(DDIM(), denoiser, process, g, x)


def run(process, denoiser, g, x, form, refinements, drafts=K):
    drafter = AnchoredDrafter(process, form)
    rounds = driffusion.make_rounds(g, drafts, drafter.extra_steps)
    options = {"form": form, "refinements": refinements, "record": True}
    return driffusion.sample(drafter, ParallelRefiner(denoiser), process, rounds, x, **options)


@pytest.mark.parametrize("process", [CosineVP(), VE(10.0)], ids=repr)
@pytest.mark.parametrize("form", ["noise", "data"])
def test_m_refinements_make_m_states_exact(process, form):
    denoiser, g, x, exact = setting(process)
    for m in range(1, K + 2):
        made = run(process, denoiser, g, x, form, m)
        np.testing.assert_allclose(made.trace.refined[0, :m], exact[1 : m + 1], atol=1e-9)
    np.testing.assert_allclose(made.x, exact[-1], atol=1e-9)
    once = run(process, denoiser, g, x, form, 1)
    assert np.abs(once.trace.refined[0, 1] - exact[2]).max() > 1e-6


def test_a_round_is_one_call_that_evaluates_the_anchor_too():
    process = CosineVP()
    denoiser, g, x, _ = setting(process)
    made = run(process, denoiser, g, x, "noise", 1)
    rounds = N // (K + 1)
    assert set(made.sequential_calls.tolist()) == {rounds}
    assert set(made.network_evaluations.tolist()) == {rounds * (K + 1)}


def test_before_the_first_call_the_best_prediction_is_the_noises_mean():
    process, t = CosineVP(), jnp.full(4, 0.9)
    x = jax.random.normal(jax.random.key(0), (4, 2, 3), jnp.float64)
    p = from_noise(process, x, t)
    np.testing.assert_array_equal(p.x0, 0)
    np.testing.assert_allclose(p.eps * process.sigma(t)[:, None, None], x)


def test_its_drafts_are_worth_more_than_longer_steps():
    """With a third of the calls' worth of serial steps for the same calls, the error is smaller."""
    process = CosineVP()
    denoiser, g, x, exact = setting(process)
    ours = run(process, denoiser, g, x, "noise", 1).x
    few = grid.uniform(process, N // (K + 1))
    serial_few = serial.trajectory(DDIM(), denoiser, process, few, x)[-1]
    error = lambda made: float(jnp.sqrt(jnp.mean((made - exact[-1]) ** 2)))
    assert error(ours) < 0.7 * error(serial_few)
