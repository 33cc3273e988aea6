"""Drafts of a distilled network, for another one to refine: the drafter slot of a hybrid.

A network that was distilled for few steps predicts where the trajectory ends, or the straight line to where its own
next step does, not the mean of where it might, so its skips reach further. Yet it is not the network whose trajectory
is wanted, so that a round that began with its step would begin wrong. The refiner's call therefore has the anchor x at
t_0 as one more state, which costs no call:

    p = f(x, t_0),    d_j = S(p, t_j)                                            the student's call
    p_0, p_1 … p_K = g(x, d_1 … d_K)                                             the refiner's call
    r_1 = S̃(x, p_0, t_0 → t_1),  r_{j+1} = S̃(r_j, p_j, t_j → t_{j+1})

so every step is the refiner's, the first one exactly the serial sampler's, and a round takes K + 1 steps for two
sequential calls.

The walk ends at the refiner's x0 at the last draft, which knows of the image what the student said, x_S, under the
noise of t_K. As a step from there towards a denoised image it may be too short: over-relaxation takes it ω > 1 times
(ω = 1: as it is),

    x_S + ω (x − x_S),      x_S = p.x0 of the last round                                               (1)

"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from drf_jax import pytree
from drf_jax.denoiser import DenoiserLike
from drf_jax.sampling.transition import skip
from drf_jax.typing import State


def relaxed(factor: float, x: State, x0: State) -> State:
    """Equation (1), for an image x and the drafter's x0 of its last round."""
    return x if factor == 1 else x0 + factor * (x - x0)


@pytree.register
@dataclasses.dataclass(frozen=True)
class DistilledDrafter:
    """Its memory is the x0 that it predicted last, ``[b, *state]``."""

    denoiser: DenoiserLike
    calls: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    initial_calls: ClassVar[int] = 0
    initial_evaluations: ClassVar[int] = 0
    extra_steps: ClassVar[int] = 1
    anchored: ClassVar[bool] = True

    def start(self, x, t, cond):
        return jnp.zeros_like(x)

    def __call__(self, process, memory, x, times, cond):
        p = self.denoiser(x, times[0], cond)
        return jax.vmap(lambda u: skip(process, p, u))(times[1:]), p.x0

    def remember(self, memory, times, predictions):
        return memory
