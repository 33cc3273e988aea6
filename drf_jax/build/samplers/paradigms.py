"""ParaDiGMS: Picard iteration on a sliding window (`drf_jax.sampling.paradigms`)."""

import dataclasses

from drf_jax.denoiser import DenoiserLike
from drf_jax.process.schedule import Process
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method, paradigms_method


@dataclasses.dataclass(frozen=True)
class Paradigms:
    """``window`` states in one call, accepted within ``tolerance``; 0 gives DDIM's own samples."""

    steps: int
    window: int
    tolerance: float
    grid: str = "uniform"
    guidance: float = 1.0


def make(
    name: str, spec: Paradigms, denoiser: DenoiserLike, process: Process, grid: Grid, loop: Loop
) -> Method:
    return paradigms_method(name, denoiser, process, grid, spec.window, spec.tolerance, loop)
