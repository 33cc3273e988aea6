"""DPM-Solver++(2M) and UniPC: orders, limits, and diffusers' trajectories.

Most tests loop in Python, so that one compiled step serves all lengths.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.process.gaussian import prior
from drf_jax.process.mixture import GaussianMixture
from drf_jax.process.schedule import VE, CosineVP, LinearVP, RectifiedFlow
from drf_jax.process.table import Table
from drf_jax.sampling import multistep, serial
from drf_jax.sampling.dpmpp import DPMSolverPP
from drf_jax.sampling.grid import karras, log_snr, uniform
from drf_jax.sampling.loops import PYTHON
from drf_jax.sampling.step import DDIM
from drf_jax.sampling.unipc import UniPC

SOLVERS = [DPMSolverPP(), UniPC(1), UniPC(2), UniPC(3)]
PROCESSES = [CosineVP(), LinearVP(), VE(10.0), RectifiedFlow()]
TABLES = {
    "linear": Table("linear"),
    "scaled_linear": Table("scaled_linear", 1000, 8.5e-4, 0.012),
    "squaredcos": Table("cosine"),
}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def noise(*shape):
    return jax.random.normal(jax.random.key(1), shape, jnp.float64)


def gaussian(process, mean=0.3, scale=0.6):
    return GaussianMixture(jnp.full((1, 2), mean), jnp.array([scale]), jnp.ones(1), process)


def ode_solution(process, x, t, s, mean=0.3, scale=0.6):
    at = lambda t: (mean * process.alpha(t), np.hypot(process.alpha(t) * scale, process.sigma(t)))
    (m_t, sd_t), (m_s, sd_s) = at(t), at(s)
    return m_s + sd_s * (x - m_t) / sd_t


def mixture(process):
    means = jax.random.uniform(jax.random.key(0), (5, 2, 3), jnp.float64, -1, 1)
    return GaussianMixture(means, jnp.full(5, 0.3), jnp.full(5, 0.2), process)


@pytest.mark.parametrize("process", [CosineVP(), VE(5.0), RectifiedFlow(0.99)], ids=repr)
def test_order_of_convergence(process):
    top, end = 0.8 * process.t_max, 0.2 * process.t_max
    x = prior(process, noise(5, 2), top)
    exact = ode_solution(process, x, top, end)
    errors = []
    for n in (64, 256):
        # The state before the last steps, which have lower orders.
        g = np.append(np.linspace(top, end, n + 1), end * np.array([0.999, 0.998, 0.997]))
        run = lambda s: multistep.trajectory(s, gaussian(process), process, g, x, None, PYTHON)[n]  # noqa: B023
        errors.append([np.max(np.abs(run(solver) - exact)) for solver in SOLVERS])
    dpm, *unipc = np.log2(np.divide(*errors)) / 2
    np.testing.assert_allclose([dpm, *unipc[:2]], [2, 2, 3], atol=0.15)
    # Order 4, but for the first two steps, of lower order: their errors are of order 3 and small.
    assert unipc[2] > 3 and errors[1][3] < errors[1][2] / 10


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("steps", [1, 2])
def test_the_first_and_the_last_step_are_ddim(process, steps):
    x, g = prior(process, noise(3, 2)), uniform(process, steps)
    ddim = serial.sample(DDIM(), gaussian(process), process, g, x, loop=PYTHON)
    for solver in SOLVERS:
        ours = multistep.sample(solver, gaussian(process), process, g, x, None, PYTHON)
        np.testing.assert_allclose(ours, ddim, atol=1e-12)


def test_the_second_order_predictor_of_unipc_is_dpm_solver():
    process = CosineVP()
    g = uniform(process, 9)
    ours, dpm = UniPC(2)(process, g), DPMSolverPP()(process, g)
    np.testing.assert_allclose(ours.predict, dpm.predict, atol=1e-13)
    np.testing.assert_array_equal(dpm.correct[:, 1:], dpm.predict)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_a_constant_prediction_is_followed_exactly(process, solver):
    # Then the ODE's solution is the skip transition of any length, so the weights of a step add up to its gain.
    weights = solver(process, uniform(process, 7))
    gain = multistep.levels(process, uniform(process, 7)).gain
    np.testing.assert_allclose(weights.predict.sum(1), gain, atol=1e-12)
    np.testing.assert_allclose(weights.correct.sum(1), gain, atol=1e-12)


@pytest.mark.parametrize("order", [2, 3])
def test_weights_are_exact_for_polynomials_in_log_snr(order):
    # The integral of e^ℓ ℓ^j, by fine quadrature, for all j that the corrector knows: 0 … p.
    process = VE(10.0)
    g = np.geomspace(9, 0.1, 8)
    weights, ell = UniPC(order)(process, g), multistep.levels(process, g).half_log_snr
    i = 4
    fine = np.linspace(ell[i], ell[i + 1], 20001)
    new_first = ell[i + 1 :: -1]
    for j in range(order + 1):
        values = np.exp(fine) * fine**j
        integral = g[i + 1] * np.sum((values[1:] + values[:-1]) / 2 * np.diff(fine))
        ours = weights.correct[i] @ new_first[: order + 1] ** j
        np.testing.assert_allclose(ours, integral, rtol=1e-7)


def test_fewer_calls_than_ddim_for_the_same_error():
    process = CosineVP()
    denoiser, x = mixture(process), prior(process, noise(64, 2, 3))
    run = lambda solver, n: multistep.sample(
        solver, denoiser, process, log_snr(process, n), x, None, PYTHON
    )
    best = run(UniPC(3), 200)
    rmse = lambda x: float(jnp.sqrt(jnp.mean((x - best) ** 2)))
    ddim = rmse(serial.sample(DDIM(), denoiser, process, log_snr(process, 24), x, loop=PYTHON))
    for solver in (DPMSolverPP(), UniPC(2), UniPC(3)):
        assert rmse(run(solver, 12)) < ddim


@pytest.mark.parametrize("process", [*PROCESSES[:3], RectifiedFlow(0.99)], ids=repr)
def test_all_solvers_reach_the_same_sample(process):
    denoiser, x = mixture(process), prior(process, noise(3, 2, 3))
    g = log_snr(process, 200)
    args = (denoiser, process, g, x, None, PYTHON)
    ends = [multistep.sample(solver, *args) for solver in SOLVERS]
    for end in ends[1:]:
        np.testing.assert_allclose(end, ends[0], atol=1e-3)


@pytest.mark.parametrize(("solver", "steps"), [(DPMSolverPP(), 1), (UniPC(3), 6)], ids=str)
def test_loops_agree_and_each_step_is_one_call(solver, steps):
    process = CosineVP()
    x, g = prior(process, noise(3, 2, 3)), uniform(process, steps)
    calls = []

    @jax.tree_util.Partial
    def counting(x, t, cond):
        jax.debug.callback(lambda: calls.append(1))
        assert cond["label"].shape == (3,)
        return mixture(process)(x, t)

    args = (solver, counting, process, g, x, {"label": jnp.zeros(3)})
    states = multistep.trajectory(*args)
    jax.effects_barrier()
    assert states.shape == (steps + 1, 3, 2, 3)
    assert len(calls) == multistep.evaluations(steps) == steps
    np.testing.assert_allclose(multistep.trajectory(*args, PYTHON), states, atol=1e-13)
    np.testing.assert_allclose(multistep.sample(*args, PYTHON), states[-1], atol=1e-13)


@pytest.mark.parametrize(
    ("name", "order"), [("dpmpp", 2), ("unipc", 2), ("unipc", 3)], ids=["dpmpp", "unipc2", "unipc3"]
)
def test_golden(golden, name, order):
    z, networks = golden.load(name), golden.load("ddim")
    solver = DPMSolverPP() if name == "dpmpp" else UniPC(order)
    cases = [key.split("/")[0] for key in z.files if key.endswith("traj64")]
    cases = [c for c in cases if "order" not in c or c.endswith(f"order{order}")]
    assert len(cases) == 7
    for case in cases:
        net, output = case.split("_")[0], "v" if "_v_" in case else "eps"
        process = next(TABLES[s] for s in ("scaled_linear", "linear", "squaredcos") if s in case)
        denoiser = golden.denoiser(networks, net, process, output)
        g = process.time_of(np.append(z[f"{case}/timesteps"], -1))
        x = jnp.asarray(networks["x_T"])
        ours = multistep.trajectory(solver, denoiser, process, g, x, None, PYTHON)
        assert golden.error(ours, z[f"{case}/traj64"]) < 1e-10, case
        if case.startswith("gmm_squaredcos"):
            with jax.enable_x64(False):
                denoiser = golden.denoiser(networks, net, process, output)
                x = jnp.asarray(networks["x_T"], jnp.float32)
                ours = multistep.sample(solver, denoiser, process, g, x)
            assert golden.error(ours, z[f"{case}/last32"]) < 2e-4, case


def test_unknown_orders_are_named():
    with pytest.raises(UserError, match=r"order = 4.*1, 2, 3"):
        UniPC(4)


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_grids_of_every_kind_give_finite_weights(solver):
    for process, make in itertools.product(PROCESSES[:3], (uniform, karras, log_snr)):
        assert all(np.all(np.isfinite(w)) for w in solver(process, make(process, 12)))
