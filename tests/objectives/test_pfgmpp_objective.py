import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.objectives.model import NetworkModel
from drf_jax.objectives.pfgmpp import PerturbedDenoising
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.pfgmpp import PFGMPP
from drf_jax.process.prediction import Prediction, expand
from drf_jax.process.schedule import VE

KEY = jax.random.key(4)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def gaussian_kernel(key, x0, sigma):
    return x0 + expand(sigma, x0) * jax.random.normal(key, x0.shape, x0.dtype)


def test_the_noise_level_and_the_weight_are_edms():
    sigmas = []

    def kernel(key, x0, sigma):
        sigmas.append(sigma)
        return x0 + 1

    zero = lambda params: lambda x, t, cond: Prediction(params * x, x)
    x0 = jnp.zeros((20_000, 1))
    loss, metrics = PerturbedDenoising(zero, kernel)(
        jnp.float64(2), None, {"x0": x0, "cond": None}, KEY
    )
    [sigma] = sigmas
    assert jnp.log(sigma).mean() == pytest.approx(-1.2, abs=0.03)
    assert jnp.log(sigma).std() == pytest.approx(1.2, abs=0.03)
    np.testing.assert_allclose(metrics["x0_error"], 4.0)
    np.testing.assert_allclose(loss, 4 * (sigma**2 + 0.25) / (0.5 * sigma) ** 2, rtol=1e-9)


def test_an_untrained_edm_network_of_unit_scale_has_loss_one():
    """The weight makes the loss the plain error in F, which is the target's variance, 1, for F = 0."""

    class Zero:
        def apply(self, variables, x, t, cond):
            return jnp.zeros_like(x)

    x0 = 0.5 * jax.random.normal(jax.random.key(0), (20_000, 2), jnp.float64)
    f = PerturbedDenoising(NetworkModel(Zero(), VE(), "edm"), gaussian_kernel)
    loss, _ = f({}, None, {"x0": x0, "cond": None}, KEY)
    assert loss.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("dimensions", [2.0, 1e7])
def test_the_exact_denoiser_of_the_kernel_has_the_smallest_loss(dimensions):
    """For few dimensions the posterior mean of the Student kernel beats the Gaussian one; for many they agree."""
    points = jnp.array([[-1.0, 0.5], [0.7, 0.7], [0.2, -1.0]])
    x0 = points[jax.random.randint(jax.random.key(0), (20_000,), 0, 3)]

    def student(params):
        def denoise(x, t, cond=None):
            distance2 = jnp.sum((x[:, None] - points) ** 2, -1)
            power = -(2 + dimensions) / 2 * jnp.log1p(distance2 / (t**2 * dimensions)[:, None])
            x0 = params * jax.nn.softmax(power) @ points
            return Prediction(x0, x)

        return denoise

    normal = lambda params: GaussianMixture(points, jnp.full(3, 1e-6), jnp.ones(3) / 3, VE())
    kernel = PFGMPP(dimensions=dimensions).perturb
    batch = {"x0": x0, "cond": None}

    def loss(model, scale):
        _, metrics = PerturbedDenoising(model, kernel)(jnp.float64(scale), None, batch, KEY)
        return float(metrics["x0_error"].mean())

    exact = loss(student, 1)
    assert exact < min(loss(student, 0.95), loss(student, 1.05))
    if dimensions == 2:
        assert exact < loss(normal, 1) - 0.003
    else:
        assert exact == pytest.approx(loss(normal, 1), rel=1e-4)


def test_labels_are_dropped():
    labels = []

    def model(params):
        def denoise(x, t, cond):
            labels.append(cond["label"])
            return Prediction(x, x)

        return denoise

    batch = {"x0": jnp.zeros((2000, 1)), "cond": {"label": jnp.zeros(2000, jnp.int32)}}
    PerturbedDenoising(model, gaussian_kernel, label_dropout=0.25, null_label=9)(
        {}, None, batch, KEY
    )
    assert 0.2 < (labels[0] == 9).mean() < 0.3
