"""Remake `tests/golden/dpmpp.npz` and `unipc.npz`: trajectories of diffusers' multistep schedulers.

    pip install diffusers==0.42.1 torch==2.13.0 numpy
    python experiments/golden_solvers.py

Needs diffusers (not a dependency of this library); seconds on a CPU. The tests compare `drf_jax.sampling.dpmpp` and
`unipc` with what diffusers' ``DPMSolverMultistepScheduler`` (dpmsolver++, midpoint, order 2) and
``UniPCMultistepScheduler`` (bh2, x0 predictions, order 2 and 3) made, with their defaults otherwise: first order at the
end, last noise level 0.

The networks and the start are those of `tests/golden/ddim.npz`: ``net/tanh/{W,b}``, output tanh(W vec(x) + b t / 1000)
read as eps or v; and ``net/gmm/{pi,mu,s}``, the exact denoiser of a Gaussian mixture. Case names are
``<net>_<schedule>_<eps|v>_<spacing>_<steps>``, UniPC's end in ``_order<p>``. For each case:

    timesteps   int64, falling; t = index of the alpha-bar table of 1000 steps, and after the last comes no noise
    traj64      the start and the result of each ``step()``, all in float64
    last32      the last state of the stock float32 scheduler (network in float64)

float64: diffusers fixes its schedules and states to float32; while a case's ``traj64`` is made, the scheduler's module
sees namespaces in which float32 is float64. ``meta`` is JSON: versions, arguments, cases.
"""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from diffusers.schedulers import scheduling_dpmsolver_multistep, scheduling_unipc_multistep

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
SCHEDULES = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 8.5e-4, "beta_end": 0.012},
    "squaredcos": {"beta_schedule": "squaredcos_cap_v2"},
}
CASES = (
    ("gmm", "linear", "eps", "trailing", 5),
    ("gmm", "linear", "eps", "leading", 20),
    ("gmm", "scaled_linear", "v", "leading", 10),
    ("gmm", "squaredcos", "v", "trailing", 8),
    ("tanh", "linear", "v", "trailing", 10),
    ("tanh", "scaled_linear", "eps", "leading", 20),
    ("tanh", "squaredcos", "v", "trailing", 2),
)
PREDICTIONS = {"eps": "epsilon", "v": "v_prediction"}


class Widened:
    """A module in which ``float32`` means ``float64``."""

    def __init__(self, module: Any):
        self.module = module
        self.float32 = module.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


@contextlib.contextmanager
def in_float64(module: Any) -> Iterator[None]:
    module.torch, module.np = Widened(torch), Widened(np)
    try:
        yield
    finally:
        module.torch, module.np = torch, np


def mixture_x0(z: Any, x: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
    """E[x0 | x] of the mixture, x ``[b, h, w, c]``."""
    pi, mu, s = (z[f"net/gmm/{name}"] for name in ("pi", "mu", "s"))
    flat, mu = x.reshape(len(x), 1, -1), mu.reshape(len(mu), -1)
    v = alpha**2 * s**2 + sigma**2
    logits = np.log(pi) - mu.shape[1] / 2 * np.log(v)
    logits = logits - np.sum((flat - alpha * mu) ** 2, -1) / (2 * v)
    r = np.exp(logits - logits.max(-1, keepdims=True))
    r = r / r.sum(-1, keepdims=True)
    means = (alpha * s[:, None] ** 2 * flat + sigma**2 * mu) / v[:, None]
    return np.sum(r[..., None] * means, axis=1).reshape(x.shape)


def network(z: Any, net: str, output: str, alpha_bar: np.ndarray) -> Callable:
    """``(x, t) -> output`` in float64, t a table index."""

    def tanh(x, t):
        flat = x.reshape(len(x), -1) @ z["net/tanh/W"].T + z["net/tanh/b"] * t / 1000
        return np.tanh(flat).reshape(x.shape)

    def gmm(x, t):
        alpha, sigma = np.sqrt(alpha_bar[t]), np.sqrt(1 - alpha_bar[t])
        x0 = mixture_x0(z, x, alpha, sigma)
        eps = (x - alpha * x0) / sigma
        return eps if output == "eps" else alpha * eps - sigma * x0

    return {"tanh": tanh, "gmm": gmm}[net]


def trajectory(make: Callable, z: Any, net: str, output: str, steps: int, dtype: Any) -> tuple:
    """(timesteps, all states) of a scheduler."""
    scheduler = make()
    scheduler.set_timesteps(steps)
    f = network(z, net, output, scheduler.alphas_cumprod.double().numpy())
    x = torch.from_numpy(z["x_T"]).to(dtype)
    states = [x]
    for t in scheduler.timesteps:
        out = torch.from_numpy(f(x.double().numpy(), int(t))).to(dtype)
        x = scheduler.step(out, t, x).prev_sample
        states.append(x)
    return scheduler.timesteps.numpy(), torch.stack(states).numpy()


def write(name: str, scheduler: type, module: Any, orders: tuple[int, ...], options: dict) -> None:
    z = np.load(GOLDEN / "ddim.npz")
    arrays, cases = {}, {}
    for (net, schedule, output, spacing, steps), order in itertools.product(CASES, orders):
        case = f"{net}_{schedule}_{output}_{spacing}_{steps}"
        case += f"_order{order}" if len(orders) > 1 else ""
        arguments = {
            **SCHEDULES[schedule],
            **options,
            "solver_order": order,
            "prediction_type": PREDICTIONS[output],
            "timestep_spacing": spacing,
        }
        make = lambda: scheduler(num_train_timesteps=1000, **arguments)  # noqa: B023
        with in_float64(module):
            timesteps, states = trajectory(make, z, net, output, steps, torch.float64)
        assert states.dtype == np.float64
        stock, states32 = trajectory(make, z, net, output, steps, torch.float32)
        np.testing.assert_array_equal(timesteps, stock)
        arrays |= {f"{case}/timesteps": timesteps, f"{case}/traj64": states}
        arrays[f"{case}/last32"] = states32[-1]
        cases[case] = arguments
        gap = np.max(np.abs(states32[-1] - states[-1])) / max(1, np.max(np.abs(states[-1])))
        print(f"{name} {case}: float32 against float64 {gap:.1e}")
    meta = {
        "package": "diffusers",
        "version": diffusers.__version__,
        "torch": torch.__version__,
        "call": f"{scheduler.__name__}(num_train_timesteps=1000, **case).step",
        "cases": cases,
        "conventions": "networks and x_T in ddim.npz; traj64[0] = x_T, traj64[i] = result of step i",
    }
    np.savez_compressed(GOLDEN / f"{name}.npz", meta=json.dumps(meta), **arrays)


if __name__ == "__main__":
    write(
        "dpmpp",
        DPMSolverMultistepScheduler,
        scheduling_dpmsolver_multistep,
        (2,),
        {"algorithm_type": "dpmsolver++", "solver_type": "midpoint"},
    )
    write(
        "unipc",
        UniPCMultistepScheduler,
        scheduling_unipc_multistep,
        (2, 3),
        {"solver_type": "bh2", "predict_x0": True},
    )
