"""The refiner slot: the parallel evaluation of all drafts, and the walk through them.

Given states s_1 … s_K at t_1 > … > t_K, one network call makes predictions p_1 … p_K, and the refined states follow
the serial sampler's own steps with those predictions in place of fresh ones:

    r_1 = d_1,      r_{j+1} = S̃(r_j, p_j, t_j → t_{j+1})                                               (1)

Repeating this with s := r brings r closer to the serial sampler, one state a time: `refine_repeatedly`.

An *anchored* call is given the anchor s_0 at t_0, too, and the walk starts there: r_1 = S̃(s_0, p_0, t_0 → t_1), and the
last prediction carries one step further.

`ParallelRefiner` evaluates the teacher at every draft (DRiffusion). `LearnedRefiner` is a refine network that sees all
drafts at once.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from drf_jax import pytree
from drf_jax.denoiser import DenoiserLike, outputs
from drf_jax.drafts import merge_drafts, repeat_cond, split_drafts
from drf_jax.process.prediction import Prediction, from_output
from drf_jax.process.schedule import Process
from drf_jax.sampling.loops import Loop, while_any
from drf_jax.sampling.transition import walk
from drf_jax.typing import Cond, Drafts, Network, Params, State, Time, Times


@runtime_checkable
class Refiner(Protocol):
    def __call__(self, states: Drafts, times: Times, cond: Cond) -> Prediction:
        """Predictions ``[k, b, *state]`` for all states ``[k, b, *state]`` at ``times`` ``[k, b]``, in one call.

        There may be more than k: what follows is for the drafter's memory.
        """
        ...


@pytree.register
@dataclasses.dataclass(frozen=True)
class ParallelRefiner:
    denoiser: DenoiserLike

    def __call__(self, states, times, cond):
        k = len(times)
        p = self.denoiser(merge_drafts(states), merge_drafts(times), repeat_cond(cond, k))
        return jax.tree.map(lambda leaf: split_drafts(leaf, k), p)


@pytree.register
@dataclasses.dataclass(frozen=True)
class LearnedRefiner:
    """A refine network ``f(drafts [k, b, …], times [k, b], cond) -> [k, b, …]``, outputs read as ``output``."""

    params: Params
    network: Network = pytree.static()
    process: Process = pytree.static()
    output: str = pytree.static()

    def __call__(self, states, times, cond):
        out, alpha, sigma = outputs(self, states, times, cond)
        return from_output(self.output, out, states, alpha, sigma)


class Anchor(NamedTuple):
    """The state in which a round starts, and its time ``[b]``."""

    x: State
    t: Time


class Refined(NamedTuple):
    """Outcome of one parallel evaluation."""

    states: Float[Array, "m b *state"]
    """r_1 … r_M; M = K, or K + 1 where the last prediction carries one step further."""
    predictions: Prediction
    error: Float[Array, "k b"]
    """Draft–refine error: root mean square of r_j − s_j over the state."""


@functools.partial(jax.jit, static_argnames=("process", "form"))
def refine(
    process: Process,
    form: str,
    refiner: Refiner,
    states: Drafts,
    times: Float[Array, "m b"],
    evaluate_at: Float[Array, "k b"],
    cond: Cond,
    anchor: Anchor | None = None,
) -> Refined:
    """Evaluate all ``states`` in one call and walk through ``times``, equation (1).

    ``evaluate_at`` are the times of the states, except at the grid's end, where a prediction is not used. With an
    ``anchor`` the call is an anchored one.
    """
    if anchor is None:
        p = refiner(states, evaluate_at, cond)
        used = jax.tree.map(lambda leaf: leaf[: len(times) - 1], p)
        r = walk(process, form, states[0], used, times)
    else:
        before = lambda first, rest: jnp.concatenate([first[None], rest])
        p = refiner(before(anchor.x, states), before(anchor.t, evaluate_at), cond)
        used = jax.tree.map(lambda leaf: leaf[: len(times)], p)
        r = walk(process, form, anchor.x, used, before(anchor.t, times))[1:]
    difference = r[: len(states)] - states
    error = jnp.sqrt(jnp.mean(difference**2, axis=tuple(range(2, states.ndim))))
    return Refined(r, p, error)


@jax.jit
def unfinished(
    error: Float[Array, "k b"],
    count: Int[Array, "b"],
    limit: Float[Array, ""],
    refinements: Int[Array, ""],
) -> Bool[Array, "b"]:
    """Samples that are to be refined once more."""
    return (jnp.max(error, axis=0) > limit) & (count < refinements)


def refine_repeatedly(
    again: Callable[..., Refined],
    loop: Loop,
    refinements: int,
    tolerance: float | None,
    first: Refined,
    *args: object,
) -> tuple[Refined, Int[Array, "b"]]:
    """`refine` with its result as the next drafts, until ``refinements`` are made or a sample's error is small.

    A sample whose largest error is at most ``tolerance`` keeps its states from then on.

    Args:
      again: ``(states [k, b, *state], *args) -> Refined``.
      loop: compiled or Python.
      refinements: the most that a sample may take, the first included.
      tolerance: None to make them all.
      first: outcome of the first refinement.
      args: for ``again``.

    Returns:
      The last outcome, and how often each sample was refined.
    """
    k, b = first.error.shape
    limit = np.asarray(-1 if tolerance is None else tolerance, first.error.dtype)

    def active(carry):
        refined, count = carry
        return unfinished(refined.error, count, limit, refinements)

    def body(carry):
        refined, count = carry
        return again(refined.states[:k], *args), count + 1

    return while_any(loop, active, body, (first, jnp.ones(b, jnp.int32)), (1, 0))
