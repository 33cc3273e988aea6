"""Are the samples copies of training images? Nearest training neighbours, against held-out data.

Let D(x) be the distance from x to the nearest training example, in feature or pixel space. Held-out
data of the same kind give its distribution for a model that does not copy:

    ratio      = median_g D(g) / median_h D(h),   g generated, h held out                   (1)
    suspicious = #{ g : D(g) <= q } / #g,         q the 1% quantile of D(h)                 (2)

A model that generalises has a ratio near 1 and a share near that of the held-out data themselves
(``baseline``: about 1%, more where many of their distances are equal); copying pushes (1) to 0 and
(2) to 1. A short form of the test of Meehan et al. 2020 (arXiv 2004.05675).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from drf_jax.errors import UserError
from drf_jax.evaluation.distance import nearest


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """How near the samples are to the training data.

    Attributes:
      distance: of each sample to its nearest training example.
      neighbour: that example's index, to show the pair.
      ratio: equation (1).
      suspicious: equation (2).
      baseline: the same share of the held-out data.
    """

    distance: Float64[np.ndarray, "n"]
    neighbour: Int[np.ndarray, "n"]
    ratio: float
    suspicious: float
    baseline: float


def memorisation(
    generated: Float[np.ndarray, "n d"],
    train: Float[np.ndarray, "m d"],
    held_out: Float[np.ndarray, "h d"],
    quantile: float = 0.01,
) -> Memorisation:
    """Compare the samples' distances to the training data with those of held-out data.

    Args:
      generated: features, or pixels as floats, of the samples.
      train: of what the model was trained on.
      held_out: of data of the same kind that it was not trained on.
      quantile: of the held-out distances, below which a sample is suspicious.

    Raises:
      UserError: a set is empty, or more than half of the held-out data are in the training data.
    """
    for name, features in (("generated", generated), ("train", train), ("held_out", held_out)):
        if len(features) == 0:
            raise UserError(f"memorisation: the set {name} is empty")
    distance, neighbour = nearest(generated, train)
    usual, _ = nearest(held_out, train)
    if np.median(usual) == 0:
        raise UserError("memorisation: most of the held-out data are in the training data")
    threshold = np.quantile(usual, quantile, method="lower")
    return Memorisation(
        distance=distance,
        neighbour=neighbour,
        ratio=float(np.median(distance) / np.median(usual)),
        suspicious=float((distance <= threshold).mean()),
        baseline=float((usual <= threshold).mean()),
    )
