import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.process.gaussian import prior
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.prediction import Prediction
from drf_jax.process.schedule import VE, CosineVP, RectifiedFlow
from drf_jax.process.table import Table
from drf_jax.sampling import grid, serial
from drf_jax.sampling.guidance import Guided
from drf_jax.sampling.history import empty, extrapolate, push
from drf_jax.sampling.loops import PYTHON
from drf_jax.sampling.step import DDIM, DDPM, Euler, Heun, evaluations
from drf_jax.sampling.transition import reuse, skip


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


SCALE = 0.6


def gaussian(process):
    """x0 ~ N(0.3, 0.6² I) in two dimensions."""
    return GaussianMixture(jnp.full((1, 2), 0.3), jnp.array([SCALE]), jnp.ones(1), process)


def ode_solution(process, x, t, s):
    """The probability-flow ODE of a Gaussian keeps each point's number of standard deviations."""
    at = lambda t: (0.3 * process.alpha(t), np.hypot(process.alpha(t) * SCALE, process.sigma(t)))
    (m_t, sd_t), (m_s, sd_s) = at(t), at(s)
    return m_s + sd_s * (x - m_t) / sd_t


def noise(b=5):
    return jax.random.normal(jax.random.key(1), (b, 2), jnp.float64)


@pytest.mark.parametrize("process", [CosineVP(), VE(5.0), RectifiedFlow(0.99)], ids=repr)
@pytest.mark.parametrize(
    ("step", "order"), [(DDIM(), 1), (Euler(), 1), (Heun(), 2)], ids=["ddim", "euler", "heun"]
)
def test_order_of_convergence(process, step, order):
    top, end = 0.8 * process.t_max, 0.2 * process.t_max
    x = prior(process, noise(), top)
    exact = ode_solution(process, x, top, end)
    errors = []
    for n in (32, 64, 128):
        # Keep away from the step made for the last interval: it has an order of its own.
        g = np.append(np.linspace(top, end, n + 1), end * 0.999)
        states = serial.trajectory(step, gaussian(process), process, g, x)
        errors.append(np.max(np.abs(states[-2] - exact)))
    slopes = np.log2(np.asarray(errors[:-1]) / np.asarray(errors[1:]))
    np.testing.assert_allclose(slopes, order, atol=0.25)


def test_ddim_reaches_the_moments_of_the_data():
    process = CosineVP()
    x = prior(process, jax.random.normal(jax.random.key(0), (4000, 2), jnp.float64))
    out = serial.sample(DDIM(), gaussian(process), process, grid.uniform(process, 300), x)
    np.testing.assert_allclose(out.mean(0), 0.3, atol=0.03)
    np.testing.assert_allclose(out.std(0), SCALE, atol=0.03)


@pytest.mark.parametrize("step", [DDPM(), DDIM(eta=0.5)], ids=["ddpm", "eta=0.5"])
def test_stochastic_samplers_reach_the_moments_of_the_data(step):
    process = CosineVP()
    keys = jax.random.split(jax.random.key(2), 4000)
    x = prior(process, jax.random.normal(jax.random.key(0), (4000, 2), jnp.float64))
    g = grid.uniform(process, 200)
    out = serial.sample(step, gaussian(process), process, g, x, keys=keys)
    np.testing.assert_allclose(out.mean(0), 0.3, atol=0.04)
    np.testing.assert_allclose(out.std(0), SCALE, atol=0.04)


def test_stochastic_samples_do_not_depend_on_their_batch():
    process, keys = CosineVP(), jax.random.split(jax.random.key(2), 5)
    x, g = prior(process, noise()), grid.uniform(process, 10)
    together = serial.sample(DDPM(), gaussian(process), process, g, x, keys=keys)
    alone = serial.sample(DDPM(), gaussian(process), process, g, x[3:4], keys=keys[3:4])
    np.testing.assert_allclose(alone[0], together[3], atol=1e-13)
    with pytest.raises(UserError, match="one key per sample"):
        serial.sample(DDPM(), gaussian(process), process, g, x)


@pytest.mark.parametrize("step", [DDIM(), Heun()], ids=["ddim", "heun"])
def test_kept_states_are_those_of_the_whole_trajectory(step):
    process = CosineVP()
    x, g = prior(process, noise()), grid.uniform(process, 12)
    args = (step, gaussian(process), process, g, x)
    full = serial.trajectory(*args)
    for every in (1, 3, 4, 12):
        kept = serial.trajectory(*args, every=every)
        np.testing.assert_allclose(kept, full[::every], atol=1e-13)
    np.testing.assert_allclose(serial.trajectory(*args, loop=PYTHON), full, atol=1e-13)
    np.testing.assert_allclose(serial.sample(*args), full[-1], atol=1e-13)
    with pytest.raises(UserError, match="every = 5"):
        serial.trajectory(*args, every=5)


def test_heun_costs_two_calls_but_the_last():
    assert evaluations(Heun(), 18) == 35 and evaluations(DDIM(), 18) == 18


@pytest.mark.parametrize("name", sorted(grid.GRIDS))
def test_grids_fall_from_the_start_to_zero(name):
    process = Table() if name in ("leading", "trailing") else CosineVP()
    g = grid.make_grid(name, process, 7)
    assert g.shape == (8,) and np.all(np.diff(g) < 0) and g[-1] == 0 and g.dtype == np.float64


def test_karras_grid_is_edms():
    i = np.arange(18)
    a, b = 80 ** (1 / 7), 0.002 ** (1 / 7)
    np.testing.assert_allclose(grid.karras(VE(), 18)[:-1], (a + i / 17 * (b - a)) ** 7)


def test_log_snr_grid_is_even():
    process = CosineVP()
    steps = np.diff(process.log_snr(grid.log_snr(process, 9)[:-1]))
    np.testing.assert_allclose(steps, steps[0])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("linear", CosineVP(), 5), r"'linear'.*uniform"),
        (("trailing", CosineVP(), 5), "discrete"),
        (("uniform", CosineVP(), 0), "steps = 0"),
        (("trailing", Table(steps=10), 25), "too fine"),
    ],
)
def test_bad_grids_are_named(args, message):
    with pytest.raises(UserError, match=message):
        grid.make_grid(*args)


@pytest.mark.parametrize("form", ["noise", "data"])
@pytest.mark.parametrize("process", [CosineVP(), VE(5.0), RectifiedFlow()], ids=repr)
def test_reusing_a_prediction_at_its_own_state_is_a_skip(form, process):
    t, u = jnp.full(5, 0.7), jnp.full(5, 0.2)
    x = prior(process, noise(), 0.7)
    p = gaussian(process)(x, t)
    np.testing.assert_allclose(reuse(process, form, x, p, t, u), skip(process, p, u), atol=1e-12)


def test_forms_differ_away_from_the_state_and_the_data_form_contracts():
    process = CosineVP()
    t, u = jnp.full(5, 0.7), jnp.full(5, 0.2)
    x = prior(process, noise(), 0.7)
    p = gaussian(process)(x, t)
    moved = {
        f: reuse(process, f, x + 1.0, p, t, u) - skip(process, p, u) for f in ("noise", "data")
    }
    np.testing.assert_allclose(moved["noise"], process.alpha(0.2) / process.alpha(0.7))
    np.testing.assert_allclose(moved["data"], process.sigma(0.2) / process.sigma(0.7))


@pytest.mark.parametrize("form", ["noise", "data"])
@pytest.mark.parametrize("process", [CosineVP(), RectifiedFlow()], ids=repr)
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_reuse_is_finite_at_both_ends_and_still_between_equal_times(form, process, t):
    x, at = noise(), jnp.full(5, t)
    p = gaussian(CosineVP())(x, jnp.full(5, 0.5))
    assert np.all(np.isfinite(reuse(process, form, x, p, at, jnp.full(5, 0.3))))
    np.testing.assert_array_equal(reuse(process, form, x, p, at, at), x)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_extrapolation_is_exact_for_polynomials(order):
    like = jnp.zeros((2, 3))
    polynomial = lambda t: sum((i + 1.0) * t**i for i in range(order))
    at = lambda t: jnp.full((1, 2), t)
    h = empty(order, like)
    for t in (0.9, 0.85, 0.7, 0.5)[:order] if order == 1 else (0.9, 0.85, 0.7, 0.5):
        value = jnp.full((1, 2, 3), polynomial(t))
        h = push(h, at(t), Prediction(value, -value))
    p = extrapolate(h, jnp.array([[0.4, 0.4], [0.1, 0.1]]))
    expected = polynomial(np.array([0.4, 0.1])) if order > 1 else np.ones(2)
    np.testing.assert_allclose(p.x0[:, 0, 0], expected, atol=1e-10)
    np.testing.assert_allclose(p.eps, -p.x0)


def test_a_window_that_is_not_full_extrapolates_with_what_it_has():
    h = empty(3, jnp.zeros((1, 1)))
    one = jnp.full((1, 1, 1), 5.0)
    h = push(h, jnp.full((1, 1), 0.8), Prediction(one, one))
    np.testing.assert_allclose(extrapolate(h, jnp.full((2, 1), 0.3)).x0, 5.0)


def test_guidance_extrapolates_from_the_unconditional_prediction():
    process = CosineVP()

    @jax.tree_util.Partial
    def by_label(x, t, cond):
        p = gaussian(process)(x, t)
        scale = cond["label"][:, None].astype(x.dtype)
        return type(p)(p.x0 * scale, p.eps * scale)

    x, t = prior(process, noise(), 0.5), jnp.full(5, 0.5)
    cond = {"label": jnp.arange(5), "style": jnp.ones((5, 2))}
    null = {"label": jnp.array(10)}
    one = by_label(x, t, {"label": jnp.ones(5, int)})
    for w, expected in (
        (1.0, np.arange(5.0)),
        (0.0, np.full(5, 10.0)),
        (3.0, 10 + 3 * (np.arange(5) - 10.0)),
    ):
        p = Guided(by_label, jnp.asarray(w), null)(x, t, cond)
        np.testing.assert_allclose(p.x0, one.x0 * expected[:, None], atol=1e-12)
        np.testing.assert_allclose(p.eps, one.eps * expected[:, None], atol=1e-12)
