"""UniPC: a predictor and a corrector of any order from the same predictions (Zhao et al. 2023, arXiv 2302.04867).

In the notation of `multistep`, with D_k = (m_{i−k} − m_i) / r_k and r_k = (ℓ_{i−k} − ℓ_i) / h, a step of order p is

    predict   x̄_{i+1} = (σ_{i+1}/σ_i) x_i + α_{i+1} (1 − e^{−h}) (m_i + Σ_{k<p} ρ_k D_k)                   (1)
    correct   x_{i+1} = (σ_{i+1}/σ_i) x_i + α_{i+1} (1 − e^{−h}) (m_i + Σ_{k<p} ρ'_k D_k + ρ'_p (m_{i+1} − m_i))
                                                                                                           (2)
The ρ make both exact for polynomial predictions. With z = −h, φ_1 = (e^z − 1)/z, φ_{j+1} = (φ_j − 1/j!) / z, and
B(h) = e^z − 1 (the paper's B_2, "bh2"), they solve Vandermonde systems in the nodes r_1 … r_{p−1} (and r_p = 1 in (2)):

    Σ_k r_k^{j−1} ρ_k = z j! φ_{j+1} / B(h),       j = 1 … p − 1 for ρ,  1 … p for ρ'                      (3)

As in the paper ρ_1 = 1/2 where the system has one unknown: (1) of order 2 is then DPM-Solver++(2M). (1) has order p
and (2) has order p + 1, at no extra call: m_{i+1} is the next step's prediction. The order rises from 1 at the first
step and falls to 1 at the last, which has no corrector.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from drf_jax.errors import UserError
from drf_jax.process.schedule import Process
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.multistep import Weights, levels

ORDERS = (1, 2, 3)


def solve_rho(r: Float[np.ndarray, "p"], h: float) -> Float[np.ndarray, "p"]:
    """Equation (3) for the nodes r."""
    if len(r) == 1:
        return np.array([0.5])
    z = -h
    right = np.empty(len(r))
    phi = np.expm1(z) / z
    for j in range(1, len(r) + 1):
        phi = (phi - 1 / math.factorial(j)) / z
        right[j - 1] = z * math.factorial(j) * phi / np.expm1(z)
    return np.linalg.solve(np.vander(r, increasing=True).T, right)


@dataclasses.dataclass(frozen=True)
class UniPC:
    """``order`` p of the predictor: 2 for guided sampling, 3 otherwise (the paper's advice)."""

    order: int = 2

    def __post_init__(self):
        if self.order not in ORDERS:
            raise UserError(f"order = {self.order}: choose one of {list(ORDERS)}")

    def __call__(self, process: Process, grid: Grid) -> Weights:
        scale, gain, ell = levels(process, grid)
        n = len(gain)
        predict, correct = np.zeros((n, self.order)), np.zeros((n, self.order + 1))
        for i in range(n):
            # A node at ℓ = −∞ (α = 0) tells nothing of the slope: the window begins after it.
            known = np.isfinite(ell[: i + 1]).sum()
            order = max(1, min(self.order, known, n - i))
            h = ell[i + 1] - ell[i]
            r = (ell[i - order + 1 : i][::-1] - ell[i]) / h
            slopes = (solve_rho(r, h) if len(r) else r) / r
            predict[i, 0], predict[i, 1:order] = 1 - slopes.sum(), slopes
            if np.isfinite(h):
                rho = solve_rho(np.append(r, 1.0), h)
                slopes, new = rho[:-1] / r, rho[-1]
                correct[i, :2] = new, 1 - new - slopes.sum()
                correct[i, 2 : order + 1] = slopes
            else:
                correct[i, 1:] = predict[i]
        return Weights(scale, gain[:, None] * predict, gain[:, None] * correct)
