"""Draft–refine distillation: learn to jump where the teacher's DDIM walks.

The teacher's trajectory from the same noise, x*_{τ_0} … x*_{τ_n}, is cut into rounds. In a round with anchor time t_0
and nodes t_1 > … > t_M the student drafts d_1 … d_K and refines r_1 … r_M, and both are compared with the teacher's
states at the same times, in units of v: a DDIM jump t → u is x_u = (…) x_t + c v with

    c(t, u) = |σ_u α_t − α_u σ_t|                                                                      (1)

    L = w_d mean_j ‖d_j − x*_j‖² / c(t_0, t_j)²  +  w_r mean_j ‖r_j − x*_j‖² / c(t_0, t_j)²  +  Σ_i w_i L_i  (2)

with further terms L_i of the refined states, each in a file of its own (`end_point`, `high_frequency`, `perceptual`,
`adversarial_term`).

`TeacherForced` starts one random round per trajectory at the teacher's own state, and a student of one call a round
remembers a call at the teacher's states before it: cheap, and never drifts.
`OnPolicy` walks all rounds from the noise, each from the state the student itself reached: later rounds learn to mend
what earlier ones did. The gradient runs through what such a student remembers, and through that state only if
``between_rounds`` lets it: rounds then also learn to end where the next ones do best.

Both train the parameters of a `drf_jax.sampling.learned.Student` on batches ``{"states": [b, n + 1, *state],
"cond": ...}``. The gradient of the refined states runs through the drafts, unless ``between`` stops it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.objectives.terms import Term, Walked, further_loss
from drf_jax.process.prediction import expand
from drf_jax.process.schedule import Process
from drf_jax.sampling.driffusion import one_round
from drf_jax.sampling.learned import Student
from drf_jax.typing import Cond, Drafts, Metrics, Params, PerExample, PRNGKey, State, Times

Between = Callable[[Any], Any]


def through(states: Drafts | State) -> Drafts | State:
    """The gradient of what comes later runs through these states."""
    return states


GRADIENTS: dict[str, Between] = {"through": through, "stopped": jax.lax.stop_gradient}


def jump_scale(process: Process, t: Times, u: Times) -> Times:
    """c(t, u) of equation (1)."""
    return jnp.abs(process.sigma(u) * process.alpha(t) - process.alpha(u) * process.sigma(t))


def state_loss(
    process: Process,
    states: Float[Array, "m b *state"],
    targets: Float[Array, "m b *state"],
    anchor: Float[Array, "b"],
    times: Float[Array, "m b"],
) -> Float[Array, "m b"]:
    """Mean over the state's entries of ‖state − target‖² / c(anchor, time)²."""
    c = jump_scale(process, jnp.broadcast_to(anchor, times.shape), times)
    error = (states - targets) / expand(c, states)
    return jnp.mean(error**2, axis=tuple(range(2, states.ndim)))


def round_loss(
    student: Student,
    params: Params,
    memory: Any,
    x: State,
    targets: Float[Array, "m b *state"],
    times: Float[Array, "nodes b"],
    last_interior: float | Float[Array, ""],
    cond: Cond,
    draft_weight: float,
    refine_weight: float = 1.0,
    between: Between = through,
    terms: tuple[Term, ...] = (),
    frozen: Params = None,
) -> tuple[PerExample, Metrics, tuple[State, Any]]:
    """Equation (2) for one round from anchor x: (loss, metrics, what the next round starts from)."""
    slots = student.slots(params)
    drafts, refined, end = one_round(
        student.process, student.form, *slots, memory, x, times, last_interior, cond, between
    )
    k = len(drafts)
    draft = state_loss(student.process, drafts, targets[:k], times[0], times[1 : k + 1]).mean(0)
    refine = state_loss(student.process, refined.states, targets, times[0], times[1:])
    metrics = {"draft": draft, "refine": refine.mean(0), "end": refine[-1]}
    loss = draft_weight * draft + refine_weight * refine.mean(0)
    more, their = further_loss(terms, frozen, Walked(x, refined.states, targets, times, cond))
    return loss + more, metrics | their, end


@dataclasses.dataclass(frozen=True)
class TeacherForced:
    """One random round per trajectory, from the teacher's state. ``grid`` are the n + 1 times of the stored states."""

    student: Student
    grid: tuple[float, ...]
    rounds: int
    draft_weight: float = 1.0
    refine_weight: float = 1.0
    between: Between = through
    terms: tuple[Term, ...] = ()

    def __call__(
        self, params: Params, frozen: Params, batch: dict, key: PRNGKey
    ) -> tuple[PerExample, Metrics]:
        states, cond = jnp.moveaxis(batch["states"], 1, 0), batch["cond"]
        grid, b = jnp.asarray(self.grid, states.dtype), states.shape[1]
        steps = self.student.steps
        which = jax.random.randint(key, (b,), 0, self.rounds)
        at = lambda index: (states[index, jnp.arange(b)], grid[index])
        before = which * steps + jnp.asarray(self.student.before)[:, None]
        memory = self.student.memory(params, *at(jnp.maximum(before, 0)), which == 0, cond)
        picked, times = at(which * steps + jnp.arange(steps + 1)[:, None])
        x, targets = picked[0], picked[1:]
        weights = self.draft_weight, self.refine_weight
        options = (grid[-2], cond, *weights, self.between, self.terms, frozen)
        loss, metrics, _ = round_loss(self.student, params, memory, x, targets, times, *options)
        return loss, metrics


class TeacherRounds(NamedTuple):
    """The teacher's trajectories, cut into rounds."""

    x: State
    """Where they start."""
    targets: Float[Array, "rounds m b *state"]
    times: Float[Array, "rounds nodes"]
    last_interior: Float[Array, ""]
    cond: Cond


def of_each(times: Float[Array, "nodes"], x: State) -> Float[Array, "nodes b"]:
    """The times of a round for every example."""
    return jnp.broadcast_to(times[:, None], (len(times), len(x)))


@dataclasses.dataclass(frozen=True)
class OnPolicy:
    """All rounds, each from the state that the student's round before ended in; the loss is their mean.

    Where no gradient runs from a round into the one before, the walk comes first, and all rounds are one with a
    gradient: a deep program of small kernels becomes a shallow one of large ones, for a third more operations at most.
    A student that remembers learns what to remember, so its rounds come one after the other.

    ``scan`` is ``jax.lax.scan``, or a Python loop where convolutions must not be scanned (`drf_jax.sampling.loops`).
    """

    student: Student
    grid: tuple[float, ...]
    rounds: int
    draft_weight: float = 1.0
    refine_weight: float = 1.0
    between: Between = through
    terms: tuple[Term, ...] = ()
    between_rounds: Between = jax.lax.stop_gradient
    scan: Callable = jax.lax.scan

    def __call__(
        self, params: Params, frozen: Params, batch: dict, key: PRNGKey
    ) -> tuple[PerExample, Metrics]:
        states, cond = jnp.moveaxis(batch["states"], 1, 0), batch["cond"]
        grid, b = jnp.asarray(self.grid, states.dtype), states.shape[1]
        steps = self.student.steps
        index = jnp.arange(self.rounds)[:, None] * steps + jnp.arange(steps + 1)
        teacher = TeacherRounds(states[0], states[index[:, 1:]], grid[index], grid[-2], cond)
        drafter, _ = self.student.slots(params)
        memory = drafter.start(teacher.x, jnp.full(b, grid[0]), cond)
        cut = self.between_rounds is jax.lax.stop_gradient
        learn = self.at_once if cut and not jax.tree.leaves(memory) else self.one_by_one
        return learn(params, frozen, memory, teacher)

    def one_by_one(
        self, params: Params, frozen: Params, memory: Any, teacher: TeacherRounds
    ) -> tuple[PerExample, Metrics]:
        """Rounds that gradients may run through."""

        def body(carry, at):
            x, memory = carry
            targets, times = at
            loss, metrics, (x, memory) = round_loss(
                self.student,
                params,
                memory,
                x,
                targets,
                of_each(times, x),
                teacher.last_interior,
                teacher.cond,
                *self.options,
                frozen,
            )
            return (self.between_rounds(x), memory), (loss, metrics)

        _, made = self.scan(body, (teacher.x, memory), (teacher.targets, teacher.times))
        return jax.tree.map(lambda each: each.mean(0), made)

    def at_once(
        self, params: Params, frozen: Params, memory: Any, teacher: TeacherRounds
    ) -> tuple[PerExample, Metrics]:
        """Rounds that depend on each other by nothing but numbers."""
        b, n = len(teacher.x), len(teacher.times)
        starts = self.starts(jax.lax.stop_gradient(params), memory, teacher)
        # Examples are the major axis, so that a batch that is split over devices stays so.
        targets = jnp.moveaxis(teacher.targets, 0, 2)
        loss, metrics, _ = round_loss(
            self.student,
            params,
            memory,
            jnp.swapaxes(starts, 0, 1).reshape(b * n, *teacher.x.shape[1:]),
            targets.reshape(len(targets), b * n, *teacher.x.shape[1:]),
            jnp.tile(teacher.times.T, (1, b)),
            teacher.last_interior,
            jax.tree.map(lambda leaf: jnp.repeat(leaf, n, axis=0), teacher.cond),
            *self.options,
            frozen,
        )
        return jax.tree.map(lambda each: each.reshape(b, n).mean(1), (loss, metrics))

    @property
    def options(self) -> tuple[float, float, Between, tuple[Term, ...]]:
        return self.draft_weight, self.refine_weight, self.between, self.terms

    def starts(
        self, params: Params, memory: Any, teacher: TeacherRounds
    ) -> Float[Array, "rounds b *state"]:
        """Where the student is at the start of every round."""
        student = self.student
        slots = student.slots(params)

        def body(x, times):
            shared = (of_each(times, x), teacher.last_interior, teacher.cond)
            _, _, (end, _) = one_round(student.process, student.form, *slots, memory, x, *shared)
            return end, end

        if len(teacher.times) < 2:
            return teacher.x[None]
        _, ends = self.scan(body, teacher.x, teacher.times[:-1])
        return jnp.concatenate([teacher.x[None], ends])
