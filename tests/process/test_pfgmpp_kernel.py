"""PFGM++: laws of the kernel and the prior, the limit of diffusion, and stored trajectories."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.process.gaussian import perturb, prior
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.pfgmpp import PFGMPP
from drf_jax.process.prediction import Prediction, expand
from drf_jax.process.schedule import VE
from drf_jax.sampling import serial
from drf_jax.sampling.edm import EDM
from drf_jax.sampling.grid import karras
from drf_jax.sampling.step import Heun

Z = np.load(Path(__file__).parents[1] / "golden" / "pfgmpp.npz")
DRAWS = 200_000


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


def noise(process, n, seed=0):
    """The process's noise in two dimensions."""
    return process.noise(jax.random.normal(jax.random.key(seed), (n, 2)), keys(n, seed + 1))


def exact(points, process):
    """The PFGM++ denoiser of a finite set: weights ∝ (‖x − y‖² + r²)^{−(N+D)/2}."""
    flat = jnp.asarray(points.reshape(len(points), -1))

    @jax.tree_util.Partial
    def denoiser(x, t, cond):
        distance2 = jnp.sum((x.reshape(len(x), 1, -1) - flat) ** 2, -1)
        n, r = flat.shape[1], process.radius(t)[:, None]
        # The same power of 1 + ‖x − y‖²/r², which keeps its digits for large D.
        logits = -(n + process.dimensions) / 2 * jnp.log1p(distance2 / r**2)
        x0 = (jax.nn.softmax(logits) @ flat).reshape(x.shape)
        return Prediction(x0, (x - x0) / expand(t, x))

    return denoiser


@pytest.mark.parametrize("dimensions", [128.0, 2048.0])
def test_the_radius_has_the_stored_law(dimensions):
    # ‖x − x0‖ = σ √(χ²_N) tail, without drawing N coordinates.
    process, case = PFGMPP(dimensions=dimensions), f"N3072_D{dimensions:.0f}"
    chi = np.sqrt(np.random.default_rng(0).chisquare(3072, DRAWS))
    unit = chi * np.asarray(process.tails(keys(DRAWS)))
    ours = np.quantile(unit, Z["q"])
    np.testing.assert_allclose(ours, Z[f"{case}/exact_q_unit"], rtol=3e-3)
    for sigma, stored in zip(Z["sigma"], Z[f"{case}/exact_q"], strict=True):
        np.testing.assert_allclose(sigma * ours, stored, rtol=3e-3)
    np.testing.assert_allclose(process.t_max * ours, Z[f"{case}/prior_exact_q"], rtol=3e-3)
    np.testing.assert_allclose(np.mean(unit**2), Z[f"{case}/mean_R2_unit_exact"], rtol=3e-3)
    np.testing.assert_allclose(np.mean(unit), Z[f"{case}/mean_R_unit_mc"][0], rtol=3e-3)


@pytest.mark.parametrize("dimensions", [128.0, 2048.0])
def test_a_coordinate_has_the_stored_law(dimensions):
    process = PFGMPP(dimensions=dimensions)
    stored = Z[f"N3072_D{dimensions:.0f}/coord_exact_q_unit"]
    sigma = jnp.full(DRAWS, 0.5)
    moved = perturb(process, jnp.full((DRAWS, 2), 3.0), noise(process, DRAWS, 1), sigma) - 3
    np.testing.assert_allclose(np.quantile(moved / 0.5, Z["q"], axis=0).T, [stored] * 2, atol=0.06)
    start = prior(process, noise(process, DRAWS, 2))
    np.testing.assert_allclose(np.quantile(start / 80, Z["q"], axis=0).T, [stored] * 2, atol=0.06)
    np.testing.assert_allclose(
        np.quantile(moved / 0.5, [0.25, 0.5, 0.75]), stored[[4, 5, 6]], atol=0.01
    )


def test_few_dimensions_have_heavy_tails_shared_by_the_coordinates():
    process = PFGMPP(dimensions=3.0)
    moved = noise(process, DRAWS)
    # Student-t of 3 degrees of freedom: P(|x| > 5.84) = 0.01; of the normal law it is 5e-9.
    np.testing.assert_allclose(jnp.mean(jnp.abs(moved) > 5.8409), 0.01, rtol=0.1)
    assert jnp.corrcoef(jnp.log(jnp.abs(moved)).T)[0, 1] > 0.1
    direction = jnp.mean(moved / jnp.linalg.norm(moved, axis=1, keepdims=True), 0)
    np.testing.assert_allclose(direction, 0, atol=0.01)


def test_many_dimensions_are_diffusion():
    gap = lambda d: np.max(np.abs(noise(PFGMPP(dimensions=d), 50) - noise(VE(), 50)))
    assert 0 < gap(1e8) < 2e-3 < gap(1e4) < 0.2


def test_the_denoiser_of_many_dimensions_is_that_of_diffusion():
    points = np.asarray(Z["s/Y"])
    mixture = GaussianMixture(jnp.asarray(points), jnp.zeros(8), jnp.full(8, 1 / 8), VE())
    x, t = jnp.asarray(Z["s/D128/denoise_x"]), jnp.array([0.5, 2.0])
    gap = lambda d: np.max(
        np.abs(exact(points, PFGMPP(dimensions=d))(x, t, None).x0 - mixture(x, t).x0)
    )
    assert gap(1e12) < 1e-9 < gap(1e5) < gap(128.0)


@pytest.mark.parametrize("dimensions", [128.0, 2048.0])
def test_denoiser_golden(dimensions):
    process, case = PFGMPP(dimensions=dimensions), f"s/D{dimensions:.0f}"
    x = jnp.asarray(Z[f"{case}/denoise_x"])
    for sigma, stored in zip(Z[f"{case}/denoise_sigma"], Z[f"{case}/denoise_D"], strict=True):
        ours = exact(Z["s/Y"], process)(x, jnp.full(len(x), sigma), None).x0
        np.testing.assert_allclose(ours, stored, atol=1e-11)


@pytest.mark.parametrize("step", [Heun(), EDM()], ids=["heun", "edm"])
@pytest.mark.parametrize("dimensions", [128.0, 2048.0])
def test_sampler_golden(dimensions, step):
    process, case = PFGMPP(dimensions=dimensions), f"s/D{dimensions:.0f}"
    grid = karras(process, 18)
    np.testing.assert_allclose(grid, Z[f"{case}/18/sigmas"], rtol=1e-12)
    x = jnp.asarray(Z[f"{case}/x0"])
    radius = np.linalg.norm(x.reshape(2, -1), axis=1)
    np.testing.assert_allclose(radius, Z[f"{case}/R"], rtol=1e-12)
    ours = serial.trajectory(step, exact(Z["s/Y"], process), process, grid, x)
    stored = Z[f"{case}/18/heun_traj"]
    assert np.max(np.abs(ours - stored)) / np.max(np.abs(stored)) < 1e-10
    np.testing.assert_allclose(ours[-5:], stored[-5:], atol=1e-10)


def test_radius_and_errors():
    assert PFGMPP(dimensions=16.0).radius(2.0) == 8.0
    assert PFGMPP().t_max == 80 and PFGMPP().network_time(1.0) == VE().network_time(1.0)
    with pytest.raises(UserError, match=r"dimensions = 0\.0"):
        PFGMPP(dimensions=0.0)
