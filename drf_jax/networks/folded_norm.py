"""A batch norm with fixed statistics, folded into the convolution before it when weights are read, in float64:

gamma (W * x - mu) / (v + eps)^{1/2} + beta = s W * x + beta - s mu,      s = gamma / (v + eps)^{1/2}     (1)
"""

from collections.abc import Callable

import numpy as np

from drf_jax.typing import Params

EPS = 1e-3
"""Of the networks that TensorFlow trained."""
NORM = ("weight", "bias", "running_mean", "running_var")
Take = Callable[[str, tuple[int, ...]], np.ndarray]
"""Name and shape -> the tensor in float64; raises for one that is missing or of another shape."""


def folded(take: Take, conv: str, norm: str, shape: tuple[int, ...]) -> Params:
    """``kernel`` of ``shape`` ``[h, w, in, out]`` and ``bias`` ``[out]``, equation (1), float32.

    Args:
      take: of the published tensors, in PyTorch's layout (out, in, height, width).
      conv, norm: what their names begin with.
    """
    *window, inputs, outputs = shape
    kernel = take(f"{conv}.weight", (outputs, inputs, *window)).transpose(2, 3, 1, 0)
    gamma, beta, mean, variance = (take(f"{norm}.{name}", (outputs,)) for name in NORM)
    scale = gamma / np.sqrt(variance + EPS)
    made = {"kernel": kernel * scale, "bias": beta - scale * mean}
    return {name: x.astype(np.float32) for name, x in made.items()}
