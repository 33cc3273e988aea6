"""High-frequency loss: the error of the refined states after a high-pass filter over the spatial axes.

The filter is the second difference along each of the d spatial axes, mirrored at the borders:

    H x = L x / 4d,      (L x)_i = Σ_axes (2 x_i − x_{i−1} − x_{i+1})                                  (1)

Cosines cos(π k (i + ½) / n) are what it multiplies, by the mean over the axes of sin²(π k / 2n): from 0 for a constant
to almost 1 for the finest checkerboard. The loss is in units of v, as the main one (`drf_jax.objectives.draft_refine`):

    L_h = mean_j ‖H (r_j − x*_j)‖² / c(t_0, t_j)²                                                      (2)

It is well-posed at every time although states are noisy there: H is linear, and r_j and x*_j are reached from one
anchor by jumps x_u = (…) x + c v, so the noise cancels in their difference and what is filtered is that of the v, or up
to a factor of the images x̂0, that they imply.
"""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.objectives.draft_refine import state_loss
from drf_jax.objectives.terms import Walked
from drf_jax.process.schedule import Process
from drf_jax.typing import Params, PerExample


def high_pass(x: Float[Array, "*shape"], axes: Sequence[int]) -> Float[Array, "*shape"]:
    """Equation (1) over these axes."""
    total = jnp.zeros_like(x)
    for axis in axes:
        ends = [(int(i == axis),) * 2 for i in range(x.ndim)]
        slope = jnp.diff(jnp.pad(x, ends, mode="edge"), axis=axis)
        total -= jnp.diff(slope, axis=axis)
    return total / (4 * len(axes))


@dataclasses.dataclass(frozen=True)
class HighFrequency:
    """Equation (2) for a round; states are ``[b, *spatial, channels]``."""

    process: Process

    def __call__(self, frozen: Params, walked: Walked) -> PerExample:
        spatial = range(2, walked.states.ndim - 1)
        error = high_pass(walked.states - walked.targets, spatial)
        times = walked.times
        return state_loss(self.process, error, jnp.zeros_like(error), times[0], times[1:]).mean(0)
