"""Multistep solvers, one call a step: DPM-Solver++(2M) and UniPC (`drf_jax.sampling.multistep`)."""

import dataclasses

from drf_jax.config import choose
from drf_jax.denoiser import DenoiserLike
from drf_jax.errors import UserError
from drf_jax.process.schedule import Process
from drf_jax.sampling.dpmpp import DPMSolverPP
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method, multistep_method
from drf_jax.sampling.unipc import UniPC

SOLVERS = {"dpmpp-2m": lambda order: DPMSolverPP(), "unipc": UniPC}
"""name -> (order -> solver)."""


@dataclasses.dataclass(frozen=True)
class Multistep:
    """``order`` is UniPC's choice; DPM-Solver++(2M) is of order 2."""

    steps: int
    solver: str
    order: int = 2
    grid: str = "uniform"
    guidance: float = 1.0

    def __post_init__(self):
        choose(SOLVERS, self.solver, "solver")
        if self.solver == "dpmpp-2m" and self.order != 2:
            raise UserError(f"order = {self.order}: dpmpp-2m is of order 2")


def make(
    name: str, spec: Multistep, denoiser: DenoiserLike, process: Process, grid: Grid, loop: Loop
) -> Method:
    solver = SOLVERS[spec.solver](spec.order)
    return multistep_method(name, solver, denoiser, process, grid, loop)
