"""DPM-Solver++(2M): second order in data predictions, one call a step (Lu et al. 2022, arXiv 2211.01095, Alg. 2).

With r = (ℓ_i − ℓ_{i−1}) / h, in the notation of `multistep`,

    x_{i+1} = (σ_{i+1}/σ_i) x_i + α_{i+1} (1 − e^{−h}) [(1 + 1/(2r)) m_i − 1/(2r) m_{i−1}]

The first step has no m_{i−1} and the last may have h = ∞: both are DDIM steps, 1/(2r) = 0.
"""

import dataclasses

import numpy as np

from drf_jax.process.schedule import Process
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.multistep import Weights, levels


@dataclasses.dataclass(frozen=True)
class DPMSolverPP:
    def __call__(self, process: Process, grid: Grid) -> Weights:
        scale, gain, ell = levels(process, grid)
        h = np.diff(ell)
        older = np.zeros_like(gain)
        older[1:-1] = -h[1:-1] / (2 * h[:-2])
        predict = gain[:, None] * np.stack([1 - older, older], axis=1)
        return Weights(scale, predict, np.pad(predict, [(0, 0), (1, 0)]))
