"""Draft–refine sampling: several steps of a grid for one or two sequential network calls.

One sampler with two slots. A round, from the anchor x at t_0:

    1. draft      d_1 … d_K at t_1 … t_K                                  drafter: 0 or 1 call
    2. evaluate   p_1 … p_K at all drafts together                        refiner: 1 call
    3. refine     r_1 = d_1,  r_{j+1} = S̃(r_j, p_j, t_j → t_{j+1})        no call
    4. the next round starts from the last r

    drafter                       steps a round   sequential calls for N steps
    conservative, learned         K + 1           2 ⌈N / (K + 1)⌉
    aggressive, learned too       K               1 + ⌈N / K⌉
    anchored, learned too         K + 1           ⌈N / (K + 1)⌉            evaluates x with the drafts
    distilled                     K + 1           2 ⌈N / (K + 1)⌉          the same

Steps 2–3 may be repeated with d := r. After m refinements the first m + 1 refined states are the serial sampler's own,
so m = K reproduces serial DDIM exactly: m is a knob from fastest to exact, and so is a tolerance on ‖r − d‖, the
draft–refine error, below which a sample stops refining. A round costs the drafter's call plus m.

The training-free sampler of DRiffusion (arXiv 2603.25872) is `ConservativeDrafter` or `AggressiveDrafter` with
`ParallelRefiner`; the learned system is `LearnedDrafter` with `LearnedRefiner`, or its aggressive form, one network in
both slots (`drf_jax.sampling.ahead`); a hybrid is `DistilledDrafter` with `ParallelRefiner`. In a hybrid and in the
anchored mode (`drf_jax.sampling.anchored`) the refiner is given x, too, and m refinements make the first m refined
states exact.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from drf_jax import pytree
from drf_jax.errors import UserError
from drf_jax.process.schedule import Process
from drf_jax.sampling.draft import Drafter
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import COMPILED, Loop
from drf_jax.sampling.refine import Anchor, Refined, Refiner, refine, refine_repeatedly
from drf_jax.sampling.transition import FORMS
from drf_jax.typing import Cond, Drafts, State

Nodes = Float[Array | np.ndarray, "nodes"]
"""Times of one round: the anchor, then one per step."""


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


def evaluated(drafter: Drafter, drafts: int) -> int:
    """States in a call of the refiner."""
    return drafts + drafter.anchored


def anchor_of(drafter: Drafter, x: State, times: Float[Array, "nodes b"]) -> Anchor | None:
    """What the refiner is to be given besides the drafts."""
    return Anchor(x, times[0]) if drafter.anchored else None


def cost(drafter: Drafter, rounds: Rounds, refinements: int = 1) -> tuple[int, int]:
    """(sequential calls, network evaluations) of a sample without tolerance."""
    count = len(rounds.times)
    calls = count * (drafter.calls + refinements)
    evaluations = count * (drafter.evaluations + refinements * evaluated(drafter, rounds.drafts))
    return drafter.initial_calls + calls, drafter.initial_evaluations + evaluations


@pytree.register
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


@jax.jit
def start(drafter: Drafter, x: State, nodes: Nodes, cond: Cond) -> Any:
    """The drafter's memory before the first round, which has these nodes."""
    return drafter.start(x, jnp.full(x.shape[:1], nodes[0]), cond)


@functools.partial(jax.jit, static_argnames=("initial", "drafting", "states"))
def bill(
    refinements: Int[Array, "rounds b"],
    initial: tuple[int, int],
    drafting: tuple[int, int],
    states: int,
) -> tuple[Int[Array, "b"], Int[Array, "b"]]:
    """Sequential calls and network evaluations of each sample, with the ``initial`` and a round's of ``drafting``.

    ``states`` are those of a call of the refiner.
    """
    rounds, total = len(refinements), jnp.sum(refinements, axis=0)
    calls = initial[0] + rounds * drafting[0] + total
    return calls, initial[1] + rounds * drafting[1] + states * total


class Pass(NamedTuple):
    """Steps 1–3 of a round, and what the next round starts from if they are not repeated."""

    drafts: Drafts
    memory: Any
    """The drafter's, before it is told of the predictions."""
    refined: Refined
    times: Float[Array, "m b"]
    evaluate_at: Float[Array, "k b"]
    anchor: Anchor | None
    carry: tuple[State, Any]


class Times(NamedTuple):
    """Of a round, for every sample."""

    nodes: Float[Array, "nodes b"]
    evaluate_at: Float[Array, "k b"]

    @property
    def drafted(self) -> Float[Array, "k_plus_1 b"]:
        """The anchor's and the drafts'."""
        return self.nodes[: len(self.evaluate_at) + 1]


@functools.partial(jax.jit, static_argnames=("batch", "drafts"))
def times_of(
    nodes: Nodes, last_interior: float | Float[Array, ""], batch: int, drafts: int
) -> Times:
    nodes = jnp.broadcast_to(nodes[:, None], (len(nodes), batch))
    return Times(nodes, jnp.maximum(nodes[1 : drafts + 1], last_interior))


@functools.partial(jax.jit, static_argnames=("process", "form"))
def first_pass(
    process: Process,
    form: str,
    drafter: Drafter,
    refiner: Refiner,
    memory: Any,
    x: State,
    nodes: Nodes,
    last_interior: float | Float[Array, ""],
    cond: Cond,
) -> Pass:
    """One program for what every round does once: the Python loop then costs one dispatch a round."""
    k = len(nodes) - 1 - drafter.extra_steps
    times = times_of(nodes, last_interior, len(x), k)
    drafts, memory = draft(process, drafter, memory, x, times.drafted, cond)
    anchor = anchor_of(drafter, x, times.nodes)
    own = times.nodes[1:], times.evaluate_at
    refined = refine(process, form, refiner, drafts, *own, cond, anchor)
    carry = conclude(drafter, memory, refined, times.evaluate_at, anchor)
    return Pass(drafts, memory, refined, *own, anchor, carry)


pass_in_parts = first_pass.__wrapped__
"""The same with each of its two network calls a program of its own."""


@jax.jit
def conclude(
    drafter: Drafter,
    memory: Any,
    refined: Refined,
    evaluate_at: Float[Array, "k b"],
    anchor: Anchor | None = None,
) -> tuple[State, Any]:
    """Step 4: the next anchor, and the memory that knows the round's predictions."""
    if anchor is not None:
        evaluate_at = jnp.concatenate([anchor.t[None], evaluate_at])
    return refined.states[-1], drafter.remember(memory, evaluate_at, refined.predictions)


def one_round(
    process: Process,
    form: str,
    drafter: Drafter,
    refiner: Refiner,
    memory: Any,
    x: State,
    times: Float[Array, "nodes b"],
    last_interior: float | Float[Array, ""],
    cond: Cond = None,
    between: Callable[[Drafts], Drafts] = lambda drafts: drafts,
) -> tuple[Drafts, Refined, tuple[State, Any]]:
    """A round with one refinement, differentiable: what distillation trains.

    ``times`` ``[nodes, b]`` may differ from sample to sample. What is refined is ``between(drafts)``.

    Returns:
      Drafts, the refinement, and what the next round starts from: state and memory.
    """
    k = len(times) - 1 - drafter.extra_steps
    evaluate_at = jnp.maximum(times[1 : k + 1], last_interior)
    drafts, memory = draft(process, drafter, memory, x, times[: k + 1], cond)
    anchor = anchor_of(drafter, x, times)
    refined = refine(process, form, refiner, between(drafts), times[1:], evaluate_at, cond, anchor)
    return drafts, refined, conclude(drafter, memory, refined, evaluate_at, anchor)


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
      UserError: unknown form, or refinements outside 1 … the states of a call.
    """
    if form not in FORMS:
        raise UserError(f"form = {form!r}: choose one of {list(FORMS)}")
    k, b, most = rounds.drafts, x.shape[0], evaluated(drafter, rounds.drafts)
    if not 1 <= refinements <= most:
        limit = "drafts + 1" if drafter.anchored else "drafts"
        raise UserError(f"refinements = {refinements}: choose 1 to {limit} = {most}")

    one_pass = first_pass if loop.whole_rounds else pass_in_parts

    def body(carry, nodes):
        x, memory = carry
        made = one_pass(process, form, drafter, refiner, memory, x, nodes, last_interior, cond)
        refined, count, carry = made.refined, np.ones(b, np.int32), made.carry
        if refinements > 1:
            again = functools.partial(refine, process, form, refiner)
            at = (made.times, made.evaluate_at, cond, made.anchor)
            refined, count = refine_repeatedly(again, loop, refinements, tolerance, refined, *at)
            carry = conclude(drafter, made.memory, refined, made.evaluate_at, made.anchor)
        states = (made.drafts, refined.states) if record else (None, None)
        return carry, Trace(count, refined.error, *states)

    times = np.asarray(rounds.times, x.dtype)
    last_interior = rounds.last_interior
    memory = start(drafter, x, times[0], cond)
    (x, _), trace = loop.scan(body, (x, memory), times)
    initial = (drafter.initial_calls, drafter.initial_evaluations)
    drafting = (drafter.calls, drafter.evaluations)
    states = evaluated(drafter, k)
    return Result(x, *bill(trace.refinements, initial, drafting, states), trace)
