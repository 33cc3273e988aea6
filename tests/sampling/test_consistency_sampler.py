"""Multistep consistency sampling: diffusers' trajectories, and the exact function of a Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.process.gaussian import prior
from drf_jax.process.prediction import expand
from drf_jax.process.schedule import VE, CosineVP, RectifiedFlow
from drf_jax.process.table import Table
from drf_jax.sampling import consistency
from drf_jax.sampling.grid import karras, trailing
from drf_jax.sampling.loops import PYTHON
from drf_jax.sampling.serial import step_noise

SIGMA_MIN, SIGMA_DATA = 0.002, 0.5
LATENT = Table("scaled_linear", 1000, 8.5e-4, 0.012)
SONG_CASES = [f"{net}_{n}" for net in ("tanh", "gmm") for n in (1, 2, 4, 8)]
SONG_CASES += ["tanh_ts_22_0", "gmm_ts_22_0", "tanh_clip_2"]
LATENT_CASES = ["gmm_eps_1"]
LATENT_CASES += [f"{net}_{o}_{n}" for net in ("tanh", "gmm") for o in ("eps", "v") for n in (4, 8)]


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def states(f, process, times, x, noises, t_min):
    """The states f is called at, and the sample."""
    visited = [x]
    for i, t in enumerate(times):
        x = consistency.call(f, x, jnp.asarray(t), None)
        if i + 1 < len(times):
            at = jnp.full(len(x), times[i + 1])
            x = consistency.renoise(process, x, at, jnp.asarray(noises[i]), t_min)
        visited.append(x)
    return jnp.stack(visited)


def song_function(golden, z, case):
    """c_skip x + c_out F, the boundary at σ_min (Song et al. 2023, appendix C)."""

    def tanh(x, t):
        flat = (x / expand(jnp.sqrt(t**2 + SIGMA_DATA**2), x)).reshape(len(x), -1)
        time = 250 * jnp.log(t + 1e-44)
        out = jnp.tanh(flat @ z["net/tanh/W"].T + z["net/tanh/b"] * time[:, None] / 1000)
        return out.reshape(x.shape)

    def gmm(x, t):
        norm2 = t**2 + SIGMA_DATA**2
        c_skip, c_out = SIGMA_DATA**2 / norm2, t * SIGMA_DATA / jnp.sqrt(norm2)
        x0 = golden.mixture(z, VE())(x, t).x0
        return (x0 - expand(c_skip, x) * x) / expand(c_out, x)

    raw = tanh if case.startswith("tanh") else gmm

    @jax.tree_util.Partial
    def f(x, t, cond):
        c_skip = SIGMA_DATA**2 / ((t - SIGMA_MIN) ** 2 + SIGMA_DATA**2)
        c_out = (t - SIGMA_MIN) * SIGMA_DATA / jnp.sqrt(t**2 + SIGMA_DATA**2)
        out = expand(c_skip, x) * x + expand(c_out, x) * raw(x, t)
        return jnp.clip(out, -1, 1) if "clip" in case else out

    return f


@pytest.mark.parametrize("case", SONG_CASES)
def test_consistency_golden(golden, case):
    z, grid = golden.load("consistency"), karras(VE(), 40)[:-1]
    times = grid[[0, 22]] if "ts" in case else consistency.every(grid, int(case[-1]))
    np.testing.assert_allclose(times, z[f"{case}/sigmas64"][:-1], rtol=1e-12)
    x = prior(VE(), jnp.asarray(z["unit_noise"]))
    f = song_function(golden, z, case)
    ours = states(f, VE(), times, x, z[f"{case}/noise"], SIGMA_MIN)
    assert golden.error(ours, z[f"{case}/traj64"]) < 1e-10
    assert golden.error(ours[-1], z[f"{case}/last32"]) < 2e-4


@pytest.mark.parametrize("case", LATENT_CASES)
def test_latent_consistency_golden(golden, case):
    net, output, steps = case.split("_")
    z = golden.load("lcm")
    times = consistency.every(trailing(LATENT, 50)[:-1], int(steps))
    np.testing.assert_allclose(times, LATENT.time_of(z[f"{case}/timesteps"]))
    denoiser = golden.denoiser(z, net, LATENT, output)

    @jax.tree_util.Partial
    def f(x, t, cond):
        scaled = 10 * (1000 * t - 1)
        c_skip, c_out = 0.25 / (scaled**2 + 0.25), scaled / jnp.sqrt(scaled**2 + 0.25)
        return expand(c_skip, x) * x + expand(c_out, x) * denoiser(x, t).x0

    ours = states(f, LATENT, times, jnp.asarray(z["x_T"]), z[f"{case}/noise"], 0.0)
    assert golden.error(ours, z[f"{case}/traj64"]) < 1e-10
    assert golden.error(ours[-1], z[f"{case}/last32"]) < 2e-4


@pytest.mark.parametrize(
    ("process", "t_min"), [(VE(), 0.002), (CosineVP(), 0.0), (CosineVP(), 0.2)]
)
def test_renoising_is_the_forward_process(process, t_min):
    # From the marginal at t_min it must lead to the marginal at t.
    t = 0.6 * process.t_max
    x0, eps, z = jax.random.normal(jax.random.key(0), (3, 100_000), jnp.float64)
    marginal = process.alpha(t_min) * 0.3 * x0 + process.sigma(t_min) * eps
    x = consistency.renoise(process, marginal, jnp.full(100_000, t), z, t_min)
    expected = np.hypot(process.alpha(t) * 0.3, process.sigma(t))
    np.testing.assert_allclose(jnp.std(x), expected, rtol=0.01)
    still = consistency.renoise(process, marginal, jnp.full(100_000, t_min), z, t_min)
    np.testing.assert_allclose(still, marginal, atol=1e-7)


@pytest.mark.parametrize("process", [VE(10.0), CosineVP(), RectifiedFlow()], ids=repr)
def test_the_exact_function_keeps_the_data(process):
    # The ODE of a Gaussian keeps each point's number of standard deviations; any number of steps gives the data's law.
    @jax.tree_util.Partial
    def f(x, t, cond):
        mean, scale = 0.3 * process.alpha(t), jnp.hypot(0.6 * process.alpha(t), process.sigma(t))
        return 0.3 + 0.6 * (x - expand(mean, x)) / expand(scale, x)

    keys = jax.random.split(jax.random.key(2), 4000)
    x = prior(process, jax.random.normal(jax.random.key(0), (4000, 2), jnp.float64))
    times = np.array([1, 0.6, 0.3, 0.1]) * process.t_max
    out = consistency.sample(f, process, times, x, keys=keys)
    np.testing.assert_allclose(out.mean(0), 0.3, atol=0.03)
    np.testing.assert_allclose(out.std(0), 0.6, atol=0.03)


def test_loops_agree_with_single_steps_and_batches_do_not_matter():
    process, times = CosineVP(), np.array([0.9, 0.5, 0.2])
    x, keys = jnp.ones((3, 2)), jax.random.split(jax.random.key(0), 3)
    cond = {"shift": jnp.arange(3.0)}
    f = jax.tree_util.Partial(lambda x, t, c: jnp.tanh(x + t[:, None] + c["shift"][:, None]))
    out = consistency.sample(f, process, times, x, cond, keys)
    np.testing.assert_allclose(
        consistency.sample(f, process, times, x, cond, keys, loop=PYTHON), out, atol=1e-14
    )
    by_hand = consistency.call(f, x, jnp.asarray(times[0]), cond)
    for i, t in enumerate(times[1:]):
        noise = step_noise(keys, jnp.asarray(i), x)
        by_hand = consistency.advance(process, f, by_hand, jnp.asarray(t), noise, 0.0, cond)
    np.testing.assert_allclose(out, by_hand, atol=1e-14)
    last = jax.tree.map(lambda a: a[2:], cond)
    alone = consistency.sample(f, process, times, x[2:], last, keys[2:])
    np.testing.assert_allclose(alone[0], out[2], atol=1e-14)
    single = consistency.sample(f, process, times[:1], x, cond)
    np.testing.assert_allclose(single, f(x, jnp.full(3, 0.9), cond))


def test_errors_name_the_number():
    f = jax.tree_util.Partial(lambda x, t, c: x)
    with pytest.raises(UserError, match=r"2 consistency steps.*one key per sample"):
        consistency.sample(f, VE(), np.array([2.0, 1.0]), jnp.ones((1, 1)))
    for steps in (0, 6):
        with pytest.raises(UserError, match=f"steps = {steps}: choose 1 to 5"):
            consistency.every(np.linspace(1, 0.2, 5), steps)
