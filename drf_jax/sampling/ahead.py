"""Learned aggressive draft–refine: the refiner's one call also drafts the next round.

A round has a single sequential call. With x the last refined state, at t_0, and q_1 … q_K the predictions that the
call before made for what comes next,

    d_j = S̃(x, q_j, t_0 → t_j)                               drafts, without a call
    p_1 … p_K, q'_1 … q'_K = f(d_1 … d_K)                     the round's call; then it is refined with p

so N steps in rounds of K take 1 + N / K sequential calls. The first q are of a call with K copies of the noise, which
costs K evaluations. Both slots hold the same network (`drf_jax.networks.ahead`).
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from drf_jax import pytree
from drf_jax.denoiser import outputs
from drf_jax.process.prediction import from_output
from drf_jax.process.schedule import Process
from drf_jax.sampling.transition import reuse
from drf_jax.typing import Network, Params


@pytree.register
@dataclasses.dataclass(frozen=True)
class AheadRefiner:
    """``f(drafts [k, b, …], times [k, b], cond) -> [2k, b, …]``: of the drafts, then of the next round's.

    All are read as ``output``, the latter as spoken of the last draft.
    """

    params: Params
    network: Network = pytree.static()
    process: Process = pytree.static()
    output: str = pytree.static()

    def __call__(self, states, times, cond):
        out, alpha, sigma = outputs(self, states, times, cond)
        index = jnp.minimum(jnp.arange(len(out)), len(states) - 1)
        return from_output(self.output, out, states[index], alpha[index], sigma[index])


@pytree.register
@dataclasses.dataclass(frozen=True)
class AheadDrafter:
    """Drafts with what ``refiner`` predicted ahead; the memory is these K predictions."""

    refiner: AheadRefiner
    drafts: int = pytree.static()
    form: str = pytree.static()
    calls: ClassVar[int] = 0
    evaluations: ClassVar[int] = 0
    initial_calls: ClassVar[int] = 1
    extra_steps: ClassVar[int] = 0
    anchored: ClassVar[bool] = False

    @property
    def initial_evaluations(self) -> int:
        return self.drafts

    def start(self, x, t, cond):
        copies = lambda leaf: jnp.broadcast_to(leaf, (self.drafts, *leaf.shape))
        return self.remember(None, None, self.refiner(copies(x), copies(t), cond))

    def __call__(self, process, memory, x, times, cond):
        jump = lambda q, u: reuse(process, self.form, x, q, times[0], u)
        return jax.vmap(jump)(memory, times[1:]), memory

    def remember(self, memory, times, predictions):
        return jax.tree.map(lambda leaf: leaf[self.drafts :], predictions)
