"""Serial samplers: one step of `drf_jax.sampling.step` after the other."""

import dataclasses

from drf_jax.config import choose
from drf_jax.denoiser import DenoiserLike
from drf_jax.process.schedule import Process
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method, serial_method
from drf_jax.sampling.step import DDIM, STEPS


@dataclasses.dataclass(frozen=True)
class Serial:
    """``eta`` is DDIM's share of fresh noise."""

    steps: int
    step: str = "ddim"
    grid: str = "uniform"
    eta: float = 0.0
    guidance: float = 1.0


def make(
    name: str, spec: Serial, denoiser: DenoiserLike, process: Process, grid: Grid, loop: Loop
) -> Method:
    step = choose(STEPS, spec.step, "step")
    step = step(spec.eta) if step is DDIM else step()
    return serial_method(name, step, denoiser, process, grid, loop)
