import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.process import preconditioning
from drf_jax.process.gaussian import perturb, prior
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.prediction import KINDS, Prediction, from_output, network_input, to_output
from drf_jax.process.schedule import VE, CosineVP, RectifiedFlow


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def pair(shape=(5, 3, 2)):
    x0, eps = jax.random.normal(jax.random.key(0), (2, *shape), jnp.float64)
    return Prediction(x0, eps)


PROCESSES = [CosineVP(), VE(), RectifiedFlow()]


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize(("a", "b"), itertools.product(KINDS, KINDS))
def test_conversions_cycle_to_the_identity(process, a, b):
    p = pair()
    t = jnp.linspace(0.1, 0.9, 5)
    alpha, sigma = process.alpha(t), process.sigma(t)
    x = perturb(process, p.x0, p.eps, t)
    once = from_output(a, to_output(a, p, alpha, sigma), x, alpha, sigma)
    twice = from_output(b, to_output(b, once, alpha, sigma), x, alpha, sigma)
    np.testing.assert_allclose(twice.x0, p.x0, atol=1e-10)
    np.testing.assert_allclose(twice.eps, p.eps, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prediction_recombines_to_the_state(kind):
    process, t = CosineVP(), jnp.linspace(0.1, 0.9, 5)
    x, out = pair()
    p = from_output(kind, out, x, process.alpha(t), process.sigma(t))
    np.testing.assert_allclose(perturb(process, p.x0, p.eps, t), x, atol=1e-10)


def test_the_score_is_that_of_the_marginal():
    process = CosineVP()
    mixture = GaussianMixture(jnp.array([[0.4, -0.3]]), jnp.array([0.7]), jnp.array([1.0]), process)
    t = jnp.array([0.35])
    x = jnp.array([[0.2, 0.9]])
    a, s = process.alpha(t), process.sigma(t)
    variance = (a * 0.7) ** 2 + s**2
    score = -(x - a[:, None] * mixture.means) / variance[:, None]
    np.testing.assert_allclose(to_output("score", mixture(x, t), a, s), score, atol=1e-12)


def test_edm_preconditioning_has_unit_variance_targets():
    sigma = jnp.geomspace(0.01, 50, 7)
    c_skip, c_out, c_in = preconditioning.coefficients(sigma)
    data2 = preconditioning.SIGMA_DATA**2
    # Karras et al. 2022, appendix B.6: unit-variance input, unit-variance training target.
    np.testing.assert_allclose(c_in**2 * (data2 + sigma**2), 1)
    np.testing.assert_allclose(((1 - c_skip) ** 2 * data2 + (c_skip * sigma) ** 2) / c_out**2, 1)
    x = jnp.ones((7, 4))
    shown = network_input("edm", x, jnp.ones(7), sigma)
    np.testing.assert_allclose(shown, c_in[:, None] * x)
    np.testing.assert_allclose(network_input("v", x, jnp.ones(7), sigma), x)


def test_prior_has_the_scale_of_the_process():
    eps = jnp.ones((2, 3))
    np.testing.assert_allclose(prior(VE(), eps), 80)
    np.testing.assert_allclose(prior(RectifiedFlow(), eps, t=0.25), 0.25)


def test_unknown_kind_is_named():
    with pytest.raises(UserError, match=r"'noise'.*eps"):
        from_output("noise", jnp.ones((1, 2)), jnp.ones((1, 2)), jnp.ones(1), jnp.ones(1))
