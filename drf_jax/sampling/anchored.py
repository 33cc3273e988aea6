"""Anchored draft–refine: one call a round, which sees the anchor itself beside the drafts.

An aggressive drafter saves the call at the anchor, and its round starts at a draft that nobody evaluated. Here the
anchor x at t_0 is one more state of the round's only call,

    d_1 … d_K at t_1 … t_K                       drafted with what the call before predicted, without a call
    p_0, p_1 … p_K = f(x, d_1 … d_K)             the round's call
    r_1 = S̃(x, p_0, t_0 → t_1),  r_{j+1} = S̃(r_j, p_j, t_j → t_{j+1})

so its first step is the serial sampler's own, a round takes K + 1 steps, and there is no call before the first round:
the first drafts know nothing but the noise, of which the best prediction is its own mean,

    p = (x0 = 0, ε = x / σ).                                                                            (1)

N steps take ⌈N / (K + 1)⌉ sequential calls, as many as a serial sampler's with K + 1 times longer steps.

With a `CorrectingRefiner` the drafts' outputs e_j are corrections, in units of the velocity, of the jump that the
anchor's prediction is: p_j passes through the jump's state at t_j,

    s_j = α_j p_0.x0 + σ_j p_0.ε,    v_j = α_j p_0.ε − σ_j p_0.x0 + e_j,    p_j = (x0, ε) of (s_j, v_j)          (2)

so with e = 0 the round is one step of a serial sampler with the anchor's prediction, whatever the drafts are: a system
that starts as a step-distilled student is that student at the start.

`AnchoredDrafter` is training-free: it walks with the last predictions, as the aggressive one does. `LookaheadDrafter`
drafts with K predictions that the network made ahead (`drf_jax.sampling.ahead`).
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from drf_jax import pytree
from drf_jax.denoiser import outputs
from drf_jax.process.prediction import Prediction, expand, from_output, to_output
from drf_jax.process.schedule import Process
from drf_jax.sampling import history
from drf_jax.sampling.ahead import AheadRefiner
from drf_jax.sampling.draft import extrapolated_walk, stack
from drf_jax.sampling.transition import reuse, skip
from drf_jax.typing import Network, Params, State, Time


def from_noise(process: Process, x: State, t: Time) -> Prediction:
    """Equation (1)."""
    return Prediction(jnp.zeros_like(x), x / expand(process.sigma(t), x))


@pytree.register
@dataclasses.dataclass(frozen=True)
class AnchoredDrafter:
    """Training-free; ``form`` and ``order`` are those of `drf_jax.sampling.draft.AggressiveDrafter`."""

    process: Process = pytree.static()
    form: str = pytree.static(default="noise")
    order: int = pytree.static(default=1)
    calls: ClassVar[int] = 0
    evaluations: ClassVar[int] = 0
    initial_calls: ClassVar[int] = 0
    initial_evaluations: ClassVar[int] = 0
    extra_steps: ClassVar[int] = 1
    anchored: ClassVar[bool] = True

    def start(self, x, t, cond):
        p = from_noise(self.process, x, t)
        return history.push(history.empty(self.order, x), t[None], stack(p))

    def __call__(self, process, memory, x, times, cond):
        return extrapolated_walk(process, self.form, memory, x, times), memory

    def remember(self, memory, times, predictions):
        return history.push(memory, times, predictions)


@pytree.register
@dataclasses.dataclass(frozen=True)
class CorrectingRefiner:
    """Equation (2): ``f(states [k + 1, b, …], times, cond) -> [2k + 1, b, …]``, p_0 and q read as ``output``."""

    params: Params
    network: Network = pytree.static()
    process: Process = pytree.static()
    output: str = pytree.static()

    def __call__(self, states, times, cond):
        k = len(states) - 1
        out, alpha, sigma = outputs(self, states, times, cond)
        first = from_output(self.output, out[0], states[0], alpha[0], sigma[0])
        jump = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (k, *leaf.shape)), first)
        v = to_output("v", jump, alpha[1:], sigma[1:]) + out[1 : k + 1]
        drafts = from_output("v", v, skip(self.process, jump, times[1:]), alpha[1:], sigma[1:])
        last = (jnp.broadcast_to(x[-1], (k, *x.shape[1:])) for x in (states, alpha, sigma))
        ahead = from_output(self.output, out[k + 1 :], *last)
        join = lambda p_0, p, q: jnp.concatenate([p_0[None], p, q])
        return jax.tree.map(join, first, drafts, ahead)


@pytree.register
@dataclasses.dataclass(frozen=True)
class LookaheadDrafter:
    """Drafts with what ``refiner`` predicted ahead; the memory is these K predictions."""

    refiner: AheadRefiner | CorrectingRefiner
    drafts: int = pytree.static()
    form: str = pytree.static()
    calls: ClassVar[int] = 0
    evaluations: ClassVar[int] = 0
    initial_calls: ClassVar[int] = 0
    initial_evaluations: ClassVar[int] = 0
    extra_steps: ClassVar[int] = 1
    anchored: ClassVar[bool] = True

    def start(self, x, t, cond):
        p = from_noise(self.refiner.process, x, t)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (self.drafts, *leaf.shape)), p)

    def __call__(self, process, memory, x, times, cond):
        jump = lambda q, u: reuse(process, self.form, x, q, times[0], u)
        return jax.vmap(jump)(memory, times[1:]), memory

    def remember(self, memory, times, predictions):
        return jax.tree.map(lambda leaf: leaf[self.drafts + 1 :], predictions)
