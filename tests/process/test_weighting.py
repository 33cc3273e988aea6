import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.process.prediction import Prediction, to_output
from drf_jax.process.schedule import VE, CosineVP, RectifiedFlow
from drf_jax.process.time import TIME_DISTRIBUTIONS, log_normal, stratified
from drf_jax.process.weighting import WEIGHTINGS


@pytest.mark.parametrize("kind", ["eps", "v", "x0"])
def test_weighted_x0_error_is_the_error_in_that_quantity(kind):
    process, t = CosineVP(), jnp.linspace(0.2, 0.8, 4)
    a, s = process.alpha(t), process.sigma(t)
    x = jax.random.normal(jax.random.key(0), (4, 6))
    truth, guess = jax.random.normal(jax.random.key(1), (2, 4, 6))
    as_prediction = lambda x0: Prediction(x0, (x - a[:, None] * x0) / s[:, None])
    error = to_output(kind, as_prediction(guess), a, s) - to_output(
        kind, as_prediction(truth), a, s
    )
    weight = WEIGHTINGS[kind](process.log_snr(t))
    np.testing.assert_allclose(
        jnp.sum(error**2, 1), weight * jnp.sum((guess - truth) ** 2, 1), rtol=1e-4
    )


def test_truncations():
    log_snr = jnp.log(jnp.array([0.01, 1.0, 100.0]))
    np.testing.assert_allclose(WEIGHTINGS["truncated_snr"](log_snr), [1, 1, 100], rtol=1e-5)
    np.testing.assert_allclose(WEIGHTINGS["min_snr"](log_snr), [0.01, 1, 5], rtol=1e-5)
    sigma2 = np.exp(-np.asarray(log_snr))
    edm = (sigma2 + 0.25) / (sigma2 * 0.25)
    np.testing.assert_allclose(WEIGHTINGS["edm"](log_snr), edm, rtol=1e-5)


@pytest.mark.parametrize("name", TIME_DISTRIBUTIONS)
def test_times_are_those_of_the_process(name):
    process = VE(2.0)
    t = TIME_DISTRIBUTIONS[name](process, jax.random.key(0), 1000)
    assert t.shape == (1000,) and t.min() > 0 and t.max() <= 2
    if name != "log_normal":
        assert abs(t.mean() - 1) < 0.06 and t.min() >= 0.002


def test_stratified_times_cover_every_bin_once():
    t = stratified(RectifiedFlow(), jax.random.key(3), 16)
    assert sorted(np.floor((np.asarray(t)) * 16).astype(int)) == list(range(16))


@pytest.mark.parametrize("process", [VE(), CosineVP(), RectifiedFlow()], ids=repr)
def test_log_normal_times_have_edms_noise_levels(process):
    with jax.enable_x64(True):
        t = log_normal(process, jax.random.key(0), 20_000)
        log_level = np.asarray(-process.log_snr(t) / 2)
    assert abs(log_level.mean() + 1.2) < 0.03 and abs(log_level.std() - 1.2) < 0.03
