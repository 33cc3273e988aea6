"""EDM's samplers: Heun's steps in the noise level, with or without churn (`drf_jax.sampling.edm`)."""

import dataclasses
import math

from drf_jax.config import at_least
from drf_jax.denoiser import DenoiserLike
from drf_jax.process.schedule import Process
from drf_jax.sampling.edm import EDM, churn_gamma
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method, serial_method


@dataclasses.dataclass(frozen=True)
class EDMHeun:
    """2 ``steps`` − 1 calls; ``s_churn`` … ``s_noise`` are Alg. 2's, and without churn it is Alg. 1."""

    steps: int
    grid: str = "karras"
    s_churn: float = 0.0
    s_min: float = 0.0
    s_max: float = math.inf
    s_noise: float = 1.0
    guidance: float = 1.0

    def __post_init__(self):
        at_least(0, self, "edm", "s_churn", "s_min", "s_noise")


def make(
    name: str, spec: EDMHeun, denoiser: DenoiserLike, process: Process, grid: Grid, loop: Loop
) -> Method:
    gamma = churn_gamma(spec.s_churn, spec.steps)
    step = EDM(gamma, spec.s_min, spec.s_max, spec.s_noise)
    return serial_method(name, step, denoiser, process, grid, loop)
