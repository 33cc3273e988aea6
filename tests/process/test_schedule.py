import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.process.schedule import VE, CosineVP, LinearVP, RectifiedFlow, ShiftedCosine
from drf_jax.process.table import Table

VP = [
    CosineVP(),
    ShiftedCosine(3.0),
    LinearVP(),
    Table("linear"),
    Table("scaled_linear", 1000, 8.5e-4, 0.012),
]
ALL = [*VP, VE(), RectifiedFlow()]


@pytest.mark.parametrize("process", VP, ids=repr)
def test_variance_is_preserved(process):
    t = np.linspace(0, process.t_max, 101)
    np.testing.assert_allclose(process.alpha(t) ** 2 + process.sigma(t) ** 2, 1, atol=1e-12)


@pytest.mark.parametrize("process", ALL, ids=repr)
def test_time_inverts_log_snr(process):
    t = np.linspace(0, process.t_max, 50)[1:-1]
    np.testing.assert_allclose(process.time(process.log_snr(t)), t, rtol=1e-9)
    assert np.all(np.diff(process.log_snr(t)) < 0)


@pytest.mark.parametrize("process", ALL, ids=repr)
def test_log_snr_is_the_log_of_the_ratio(process):
    t = np.linspace(0, process.t_max, 50)[1:-1]
    np.testing.assert_allclose(
        process.log_snr(t), 2 * np.log(process.alpha(t) / process.sigma(t)), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("process", ALL, ids=repr)
def test_host_and_traced_values_agree(process):
    t = np.linspace(0.1, 0.9, 5)
    for f in (process.alpha, process.sigma, process.log_snr, process.network_time):
        np.testing.assert_allclose(jax.jit(f)(jnp.asarray(t)), f(t), rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("process", ALL, ids=repr)
def test_use_in_float32_leaves_float64_exact(process):
    t = np.linspace(0.1, 0.9, 5)
    for f in (process.alpha, process.sigma):
        jax.jit(f)(jnp.asarray(t, jnp.float32))
        with jax.enable_x64(True):
            np.testing.assert_allclose(f(jnp.asarray(t)), f(t), rtol=1e-12)


def test_a_shifted_cosine_has_as_much_more_noise():
    """An average over 2 × 2 pixels of the larger image has the log-SNR of the smaller one's pixel."""
    t = np.linspace(0, 0.999, 20)[1:]
    small, large = CosineVP(), ShiftedCosine(2.0)
    averaged = 2 * np.log(large.alpha(t) / (large.sigma(t) / 2))
    np.testing.assert_allclose(averaged, small.log_snr(t), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ShiftedCosine(1.0).alpha(t), small.alpha(t), rtol=1e-9)


def test_linear_vp_is_the_limit_of_the_ddpm_table():
    t = np.linspace(0.01, 1, 20)
    fine = Table("linear", 10**5, 1e-6, 2e-4)
    np.testing.assert_allclose(LinearVP().alpha(t), fine.alpha(t), rtol=1e-3)


def test_table_reproduces_its_products_and_its_end():
    process = Table("linear", 10, 0.1, 0.2)
    betas = np.linspace(0.1, 0.2, 10)
    np.testing.assert_allclose(
        process.alpha(process.time_of(np.arange(10))) ** 2, np.cumprod(1 - betas)
    )
    assert process.time_of(-3) == 0 and process.alpha(0.0) == 1
    sd = Table("linear", 10, 0.1, 0.2, final_alpha_bar=None)
    np.testing.assert_allclose(sd.alpha(0.0) ** 2, 0.9)


def test_unknown_betas_are_named():
    with pytest.raises(UserError, match=r"'quadratic'.*scaled_linear"):
        Table("quadratic")
