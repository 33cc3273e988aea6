"""Whole trajectories against diffusers' DDIM and DDPM schedulers (`tests/golden`), float64."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.process.table import Table
from drf_jax.sampling import grid as grids
from drf_jax.sampling.serial import trajectory
from drf_jax.sampling.step import DDIM, DDPM

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = {name: np.load(GOLDEN / f"{name}.npz") for name in ("ddim", "ddpm")}
TABLES = {
    "linear": Table("linear"),
    "scaled_linear": Table("scaled_linear", 1000, 8.5e-4, 0.012),
    "squaredcos": Table("cosine"),
    "sdlike": Table("scaled_linear", 1000, 8.5e-4, 0.012, final_alpha_bar=None),
}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def case_parts(golden):
    """``case_parts(file, case) -> (stored arrays, process, denoiser, steps)``."""

    def parts(file, case):
        z, names = FILES[file], case.split("_")
        process = TABLES[next(s for s in sorted(TABLES, key=len, reverse=True) if s in case)]
        net, output = "gmm" if "gmm" in names else "tanh", "v" if "v" in names else "eps"
        return z, process, golden.denoiser(z, net, process, output), int(names[-1])

    return parts


@pytest.fixture
def close(golden):
    def check(ours, stored, tolerance=1e-10):
        assert golden.error(ours, stored) < tolerance

    return check


def cases(file):
    meta = json.loads(str(FILES[file]["meta"]))["cases"]
    return sorted(meta)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos"])
def test_tables(schedule):
    stored = FILES["ddim"][f"abar/{schedule}/f64"]
    np.testing.assert_allclose(TABLES[schedule].alpha_bar, stored, rtol=1e-11)


@pytest.mark.parametrize("case", cases("ddim"))
def test_ddim(case, case_parts, close):
    z, process, denoiser, steps = case_parts("ddim", case)
    if "trailing" in case:
        grid = grids.trailing(process, steps)
    else:
        grid = grids.leading(process, steps, offset=1 if "sdlike" in case else 0)
    np.testing.assert_allclose(
        grid, process.time_of(np.append(z[f"{case}/timesteps"], z[f"{case}/prev_timesteps"][-1]))
    )
    ours = trajectory(DDIM(), denoiser, process, grid, jnp.asarray(z["x_T"]))
    close(ours, z[f"{case}/traj64"])


@pytest.mark.parametrize("case", cases("ddim"))
def test_ddim_float32(case, case_parts, close):
    with jax.enable_x64(False):
        z, process, denoiser, _ = case_parts("ddim", case)
        grid = process.time_of(np.append(z[f"{case}/timesteps"], z[f"{case}/prev_timesteps"][-1]))
        ours = trajectory(DDIM(), denoiser, process, grid, jnp.asarray(z["x_T"], jnp.float32))
        hard = "squaredcos" in case and "trailing" in case and "eps" in case
        close(ours[-1], z[f"{case}/last32"], 5e-4 if hard else 2e-4)


@pytest.mark.parametrize("case", cases("ddpm"))
@pytest.mark.parametrize("step", [DDPM(), DDIM(eta=1.0)], ids=["ddpm", "ddim eta=1"])
def test_ddpm(case, step, case_parts, close):
    z, process, denoiser, steps = case_parts("ddpm", case)
    grid = grids.leading(process, steps)
    x = jnp.asarray(z["x_T"])
    states = [x]
    for t, s, noise in zip(grid[:-1], grid[1:], z[f"{case}/noise"], strict=True):
        times = jnp.full((2, len(x)), jnp.array([[t], [s]]))
        x = step(denoiser, process, x, times[0], times[1], None, jnp.asarray(noise))
        states.append(x)
    close(jnp.stack(states), z[f"{case}/traj64"])
