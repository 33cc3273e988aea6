"""Precision and recall, density and coverage of generated features against real ones.

The manifold of a set is taken to be the union of balls B(x, r_k(x)) around its members, r_k(x) the
distance to the k-th nearest other member. With N real r_i and M generated g_j:

    precision = 1/M #{ j : g_j is in some real ball }                                       (1)
    recall    = 1/N #{ i : r_i is in some generated ball }                                  (2)
    density   = 1/(k M) sum_j #{ i : g_j is in the ball of r_i }                            (3)
    coverage  = 1/N #{ i : some g_j is in the ball of r_i }                                 (4)

(1) and (2): Kynkäänniemi et al. 2019 (arXiv 1904.06991), k = 3. (3) and (4): Naeem et al. 2020
(arXiv 2002.09797), k = 5; their real balls make them sturdier against outliers, and density may
exceed 1. All four depend on N and M: compare at equal numbers only.
"""

import numpy as np
from jaxtyping import Float

from drf_jax.evaluation.distance import squared_radii, tiles


def precision_recall(
    generated: Float[np.ndarray, "m d"], real: Float[np.ndarray, "n d"], k: int = 3
) -> dict[str, float]:
    """``{"precision", "recall"}``, equations (1) and (2).

    Raises:
      UserError: a set has no more than k members.
    """
    real_radii, generated_radii = squared_radii(real, k), squared_radii(generated, k)
    precise, recalled = np.zeros(len(generated), bool), np.zeros(len(real), bool)
    for rows, columns, squared in tiles(generated, real):
        precise[rows] |= (squared <= real_radii[columns]).any(1)
        recalled[columns] |= (squared <= generated_radii[rows, None]).any(0)
    return {"precision": float(precise.mean()), "recall": float(recalled.mean())}


def density_coverage(
    generated: Float[np.ndarray, "m d"], real: Float[np.ndarray, "n d"], k: int = 5
) -> dict[str, float]:
    """``{"density", "coverage"}``, equations (3) and (4).

    Raises:
      UserError: the real set has no more than k members, or nothing was generated.
    """
    radii = squared_radii(real, k)
    inside, covered = 0, np.zeros(len(real), bool)
    for _, columns, squared in tiles(generated, real):
        within = squared <= radii[columns]
        inside += int(within.sum())
        covered[columns] |= within.any(0)
    return {"density": inside / (k * len(generated)), "coverage": float(covered.mean())}
