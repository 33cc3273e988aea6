"""Draft–refine sampling: several steps of a grid for one or two sequential network calls.

One sampler with two slots. A round, from the anchor x at t_0:

    1. draft      d_1 … d_K at t_1 … t_K                                  drafter: 0 or 1 call
    2. evaluate   p_1 … p_K at all drafts together                        refiner: 1 call
    3. refine     r_1 = d_1,  r_{j+1} = S̃(r_j, p_j, t_j → t_{j+1})        no call
    4. the next round starts from the last r

    drafter                       steps a round   sequential calls for N steps
    conservative, learned         K + 1           2 ⌈N / (K + 1)⌉
    aggressive                    K               1 + ⌈N / K⌉

Steps 2–3 may be repeated with d := r. After m refinements the first m + 1 refined states are the serial sampler's own,
so m = K reproduces serial DDIM exactly: m is a knob from fastest to exact, and so is a tolerance on ‖r − d‖, the
draft–refine error, below which a sample stops refining. A round costs the drafter's call plus m.

The training-free sampler of DRiffusion (arXiv 2603.25872) is `ConservativeDrafter` or `AggressiveDrafter` with
`ParallelRefiner`; the learned system is `LearnedDrafter` with `LearnedRefiner`.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from drf_jax.errors import UserError
from drf_jax.process.schedule import Process
from drf_jax.sampling.draft import Drafter
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import COMPILED, Loop
from drf_jax.sampling.refine import Refined, Refiner, refine, refine_repeatedly
from drf_jax.sampling.transition import FORMS
from drf_jax.typing import Cond, Drafts, State


@dataclasses.dataclass(frozen=True)
class Rounds:
    """Times of every round: the anchor, then one per step; a last round that is too long repeats the grid's end."""

    times: Float[np.ndarray, "rounds nodes"]
    drafts: int
    last_interior: float
    """The grid's last time before its end. Drafts at the end need no prediction and are evaluated here instead."""


def make_rounds(grid: Grid, drafts: int, extra_steps: int) -> Rounds:
    """Cut a grid into rounds of ``drafts + extra_steps`` steps.

    Raises:
      UserError: no drafts, or a round longer than the grid.
    """
    n, steps = len(grid) - 1, drafts + extra_steps
    if drafts < 1:
        raise UserError(f"drafts = {drafts}: at least 1 is needed")
    if steps > n:
        raise UserError(
            f"drafts = {drafts}: a round takes {steps} steps and the grid has {n}; at most {n - extra_steps} drafts"
        )
    count = -(-n // steps)
    index = np.minimum(np.arange(count)[:, None] * steps + np.arange(steps + 1), n)
    return Rounds(grid[index], drafts, float(grid[-2]))


def cost(drafter: Drafter, rounds: Rounds, refinements: int = 1) -> tuple[int, int]:
    """(sequential calls, network evaluations) of a sample without tolerance."""
    count = len(rounds.times)
    drafting = drafter.initial_calls + count * drafter.calls
    return drafting + count * refinements, drafting + count * refinements * rounds.drafts


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Result:
    """What a run made, and what each sample of the batch would have cost alone."""

    x: State
    sequential_calls: Int[Array, "b"]
    network_evaluations: Int[Array, "b"]
    trace: "Trace"


class Trace(NamedTuple):
    """What happened in each round; the states only where they were asked for."""

    refinements: Int[Array, "rounds b"]
    error: Float[Array, "rounds k b"]
    """Draft–refine error: root mean square of r_j − s_j over the state, in a round's last refinement."""
    drafts: Float[Array, "rounds k b *state"] | None
    refined: Float[Array, "rounds m b *state"] | None


@functools.partial(jax.jit, static_argnames=("process",))
def draft(
    process: Process,
    drafter: Drafter,
    memory: Any,
    x: State,
    times: Float[Array, "nodes b"],
    cond: Cond,
) -> tuple[Drafts, Any]:
    """Step 1 of a round; ``times`` holds the anchor and the drafts."""
    return drafter(process, memory, x, times, cond)


def one_round(
    process: Process,
    form: str,
    drafter: Drafter,
    refiner: Refiner,
    x: State,
    times: Float[Array, "nodes b"],
    cond: Cond = None,
) -> tuple[Drafts, Refined]:
    """A first round with one refinement, differentiable: what distillation trains.

    ``times`` ``[nodes, b]`` may differ from sample to sample; every node but the last lies above the grid's end.
    """
    k = len(times) - 1 - drafter.extra_steps
    memory = drafter.start(x, times[0], cond)
    drafts, _ = draft(process, drafter, memory, x, times[: k + 1], cond)
    return drafts, refine(process, form, refiner, drafts, times[1:], times[1 : k + 1], cond)


def sample(
    drafter: Drafter,
    refiner: Refiner,
    process: Process,
    rounds: Rounds,
    x: State,
    cond: Cond = None,
    form: str = "noise",
    refinements: int = 1,
    tolerance: float | None = None,
    loop: Loop = COMPILED,
    record: bool = False,
) -> Result:
    """Sample by draft–refine rounds from x ``[b, *state]`` at the grid's start.

    Args:
      drafter, refiner: the two slots; pytrees.
      rounds: from `make_rounds`, with the drafter's ``extra_steps``.
      cond: conditioning with a leading batch axis, passed on untouched.
      form: ``noise`` or ``data``, the form of the reuse step in (3).
      refinements: m, or the most a sample may take when there is a tolerance.
      tolerance: a sample stops refining once its largest draft–refine error of the round is at most this.
      loop: compiled or Python (`drf_jax.sampling.loops`).
      record: also return all drafts and refined states.

    Raises:
      UserError: unknown form, or refinements outside 1 … drafts.
    """
    if form not in FORMS:
        raise UserError(f"form = {form!r}: choose one of {list(FORMS)}")
    if not 1 <= refinements <= rounds.drafts:
        raise UserError(f"refinements = {refinements}: choose 1 to drafts = {rounds.drafts}")
    k, b = rounds.drafts, x.shape[0]

    def body(carry, times):
        x, memory = carry
        times = jnp.broadcast_to(times[:, None], (len(times), b))
        evaluate_at = jnp.maximum(times[1 : k + 1], last_interior)
        drafts, memory = draft(process, drafter, memory, x, times[: k + 1], cond)
        passes = functools.partial(refine, process, form, refiner)
        args = (times[1:], evaluate_at, cond)
        if refinements == 1:
            refined, count = passes(drafts, *args), jnp.ones(b, jnp.int32)
        else:
            refined, count = refine_repeatedly(passes, loop, refinements, tolerance, drafts, *args)
        memory = drafter.remember(memory, evaluate_at, refined.predictions)
        states = (drafts, refined.states) if record else (None, None)
        return (refined.states[-1], memory), Trace(count, refined.error, *states)

    times = np.asarray(rounds.times, x.dtype)
    last_interior = np.asarray(rounds.last_interior, x.dtype)
    memory = drafter.start(x, jnp.full(b, times[0, 0]), cond)
    (x, _), trace = loop.scan(body, (x, memory), times)
    drafting = drafter.initial_calls + len(times) * drafter.calls
    total = jnp.sum(trace.refinements, axis=0)
    return Result(x, drafting + total, drafting + k * total, trace)
