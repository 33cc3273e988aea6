"""ParaDiGMS: serial DDIM for tolerance 0, fewer calls for more, and real costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.process.prediction import Prediction
from drf_jax.process.schedule import VE
from drf_jax.sampling import paradigms, serial
from drf_jax.sampling.loops import PYTHON
from drf_jax.sampling.step import DDIM


def run(*setting, **options):
    """In Python, so that one compiled iteration serves many cases; the loops are compared below."""
    return paradigms.sample(*setting, loop=PYTHON, **options)


@pytest.mark.parametrize("window", [4, 12])
def test_tolerance_zero_is_ddim(setting, ddim, process, window):
    given = setting(process)
    result = run(*given, window=window, tolerance=0.0)
    np.testing.assert_allclose(result.x, ddim(*given), atol=1e-10)
    # One node a call: its state is right once the one before it is. The window shrinks at the grid's end.
    # Now and then a state comes out right to the last bit before its turn, which saves a call.
    calls, evaluations = 12, sum(min(window, 12 - i) for i in range(12))
    assert np.all((result.sequential_calls >= calls - 2) & (result.sequential_calls <= calls))
    whole = result.sequential_calls == calls
    assert np.any(whole) and np.all(result.network_evaluations[whole] == evaluations)


def test_a_window_of_one_is_serial(setting):
    result = run(*setting(), window=1, tolerance=1e9)
    np.testing.assert_array_equal(result.sequential_calls, 12)
    np.testing.assert_array_equal(result.network_evaluations, 12)


def test_an_endless_tolerance_takes_one_iteration_a_window(setting):
    # 12 steps in windows of 5: 5 + 5 + 2 states. The last node has no posterior variance, so it never passes alone.
    result = run(*setting(), window=5, tolerance=1e9)
    np.testing.assert_array_equal(result.sequential_calls, 3)
    np.testing.assert_array_equal(result.network_evaluations, 12)


def test_more_tolerance_is_fewer_calls_and_more_error(setting, ddim):
    given = setting(steps=48, b=16)
    exact = ddim(*given)
    calls, errors = [], []
    for tolerance in (0.0, 1e-3, 3e-2, 0.3):
        result = run(*given, window=12, tolerance=tolerance)
        calls.append(float(jnp.mean(result.sequential_calls)))
        errors.append(float(jnp.sqrt(jnp.mean((result.x - exact) ** 2))))
        assert np.all(result.network_evaluations <= 12 * result.sequential_calls)
    assert np.all(np.diff(calls) < 0) and np.all(np.diff(errors) > 0)
    assert calls[1] < 40 and errors[1] < 1e-3


def test_picard_iterations_reach_the_serial_states_one_by_one(setting):
    denoiser, process, g, x = setting()
    exact = serial.trajectory(DDIM(), denoiser, process, g, x, loop=PYTHON)
    times = jnp.broadcast_to(jnp.asarray(g)[:, None], (13, len(x)))
    states = jnp.broadcast_to(x, (13, *x.shape))
    for k in (1, 2, 3):
        states = paradigms.picard(process, denoiser, states, times, times[-2, 0], None)
        gap = np.max(np.abs(states - exact), axis=(1, 2, 3))
        assert np.all(gap[: k + 1] < 1e-12) and np.all(gap[k + 1 :] > 1e-6)


def test_a_constant_prediction_needs_one_iteration(setting, ddim):
    # Increments that do not depend on the state make the first guess of the whole window exact.
    _, process, g, x = setting(VE(10.0))
    eps = jnp.ones_like(x[:1])
    denoiser = jax.tree_util.Partial(
        lambda x, t, cond: Prediction(x - t[:, None, None] * eps, eps + 0 * x)
    )
    result = run(denoiser, process, g, x, window=12, tolerance=1e-6)
    np.testing.assert_allclose(result.x, ddim(denoiser, process, g, x), atol=1e-12)
    assert np.all(result.sequential_calls == 2)


def test_the_stride_is_the_first_failure():
    old = jnp.zeros((5, 3, 2))
    change = jnp.array([[0, 1, 1], [1, 9, 1], [1, 1, 9], [1, 1, 1], [9, 9, 9]])
    new = old + change[..., None]
    stride = paradigms.passes(new, old, jnp.full((5, 3), 1.0))
    np.testing.assert_array_equal(stride, [4, 1, 2])
    moved = paradigms.slide(jnp.arange(5.0)[:, None, None] + old, stride)[..., 0]
    np.testing.assert_array_equal(moved.T, [[4, 4, 4, 4, 4], [1, 2, 3, 4, 4], [2, 3, 4, 4, 4]])


def test_a_sample_does_not_depend_on_its_batch(setting):
    denoiser, process, g, x = setting(steps=24)
    together = run(denoiser, process, g, x, window=6, tolerance=0.05)
    assert len(np.unique(together.sequential_calls)) > 1
    for i in range(len(x)):
        alone = run(denoiser, process, g, x[i : i + 1], window=6, tolerance=0.05)
        np.testing.assert_allclose(alone.x[0], together.x[i], atol=1e-12)
        assert alone.sequential_calls[0] == together.sequential_calls[i]
        assert alone.network_evaluations[0] == together.network_evaluations[i]


def test_loops_agree_and_costs_are_real(setting):
    mixture, process, g, x = setting(b=1)
    widths = []

    @jax.tree_util.Partial
    def counting(x, t, cond):
        jax.debug.callback(lambda t: widths.append(len(t)), t)
        return mixture(x - cond["shift"][:, None, None], t)

    options = dict(cond={"shift": jnp.ones(1)}, window=4, tolerance=0.02)
    a = paradigms.sample(counting, process, g, x, **options)
    jax.effects_barrier()
    assert len(widths) == a.sequential_calls[0] and set(widths) == {4}
    b = paradigms.sample(counting, process, g, x, loop=PYTHON, **options)
    for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(p, q, atol=1e-12)


def test_errors_name_the_number_and_the_limit(setting):
    for window in (0, 13):
        with pytest.raises(UserError, match=f"window = {window}: choose 1 to 12"):
            paradigms.sample(*setting(), window=window)
    with pytest.raises(UserError, match=r"tolerance = -0\.1"):
        paradigms.sample(*setting(), tolerance=-0.1)
