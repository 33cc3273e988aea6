"""SRDS: parareal iterations of a coarse and a fine DDIM (`drf_jax.sampling.srds`)."""

import dataclasses

from drf_jax.config import at_least
from drf_jax.denoiser import DenoiserLike
from drf_jax.process.schedule import Process
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method, srds_method


@dataclasses.dataclass(frozen=True)
class SRDS:
    """``iterations`` over ``blocks`` of the grid, at most as many as needed for ``tolerance`` (0: all)."""

    steps: int
    blocks: int
    iterations: int = 1
    tolerance: float = 0.0
    grid: str = "uniform"
    guidance: float = 1.0

    def __post_init__(self):
        at_least(0, self, "srds", "tolerance")


def make(
    name: str, spec: SRDS, denoiser: DenoiserLike, process: Process, grid: Grid, loop: Loop
) -> Method:
    options = (spec.blocks, spec.iterations, spec.tolerance or None, loop)
    return srds_method(name, denoiser, process, grid, *options)
