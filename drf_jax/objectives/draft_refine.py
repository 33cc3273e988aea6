"""Draft–refine distillation: learn to jump where the teacher's DDIM walks.

The teacher's trajectory from the same noise, x*_{τ_0} … x*_{τ_n}, is cut into rounds. In a round with anchor time t_0
and nodes t_1 > … > t_M the student drafts d_1 … d_K and refines r_1 … r_M, and both are compared with the teacher's
states at the same times, in units of v: a DDIM jump t → u is x_u = (…) x_t + c v with

    c(t, u) = |σ_u α_t − α_u σ_t|                                                                      (1)

    L = w_d mean_j ‖d_j − x*_j‖² / c(t_0, t_j)²  +  mean_j ‖r_j − x*_j‖² / c(t_0, t_j)²                (2)

`TeacherForced` starts one random round per trajectory at the teacher's own state: cheap, and never drifts.
`OnPolicy` walks all rounds from the noise, each from the state the student itself reached (no gradient through it), so
later rounds learn to mend what earlier ones did.

Both train one parameter tree ``{"drafter": ..., "refiner": ...}`` on batches ``{"states": [b, n + 1, *state],
"cond": ...}``. The gradient of the refined states runs through the drafts.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.process.prediction import expand
from drf_jax.process.schedule import Process
from drf_jax.sampling.draft import LearnedDrafter
from drf_jax.sampling.driffusion import one_round
from drf_jax.sampling.refine import LearnedRefiner
from drf_jax.typing import Cond, Metrics, Network, Params, PerExample, PRNGKey, State, Times


@dataclasses.dataclass(frozen=True)
class Student:
    """The learned system without its parameters: two networks and how a round is cut."""

    drafter: Network
    refiner: Network
    process: Process
    output: str
    form: str

    def slots(self, params: Params) -> tuple[LearnedDrafter, LearnedRefiner]:
        """The sampler's two slots, filled."""
        shared = (self.process, self.output)
        return (
            LearnedDrafter(params["drafter"], self.drafter, *shared),
            LearnedRefiner(params["refiner"], self.refiner, *shared),
        )


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
    x: State,
    targets: Float[Array, "m b *state"],
    times: Float[Array, "nodes b"],
    cond: Cond,
    draft_weight: float,
) -> tuple[PerExample, Metrics, State]:
    """Equation (2) for one round from anchor x: (loss, metrics, where the round ended)."""
    drafts, refined = one_round(
        student.process, student.form, *student.slots(params), x, times, cond
    )
    k = len(drafts)
    draft = state_loss(student.process, drafts, targets[:k], times[0], times[1 : k + 1]).mean(0)
    refine = state_loss(student.process, refined.states, targets, times[0], times[1:])
    metrics = {"draft": draft, "refine": refine.mean(0), "end": refine[-1]}
    return draft_weight * draft + refine.mean(0), metrics, refined.states[-1]


@dataclasses.dataclass(frozen=True)
class TeacherForced:
    """One random round per trajectory, from the teacher's state. ``grid`` are the n + 1 times of the stored states."""

    student: Student
    grid: tuple[float, ...]
    rounds: int
    draft_weight: float = 1.0

    def __call__(
        self, params: Params, frozen: Params, batch: dict, key: PRNGKey
    ) -> tuple[PerExample, Metrics]:
        states = jnp.moveaxis(batch["states"], 1, 0)
        nodes, b = (len(self.grid) - 1) // self.rounds, states.shape[1]
        which = jax.random.randint(key, (b,), 0, self.rounds)
        index = which * nodes + jnp.arange(nodes + 1)[:, None]
        picked = states[index, jnp.arange(b)]
        times = jnp.asarray(self.grid, states.dtype)[index]
        loss, metrics, _ = round_loss(
            self.student, params, picked[0], picked[1:], times, batch["cond"], self.draft_weight
        )
        return loss, metrics


@dataclasses.dataclass(frozen=True)
class OnPolicy:
    """All rounds, each from the state that the student's round before ended in; the loss is their mean.

    ``scan`` is ``jax.lax.scan``, or a Python loop where convolutions must not be scanned (`drf_jax.sampling.loops`).
    """

    student: Student
    grid: tuple[float, ...]
    rounds: int
    draft_weight: float = 1.0
    scan: Callable = jax.lax.scan

    def __call__(
        self, params: Params, frozen: Params, batch: dict, key: PRNGKey
    ) -> tuple[PerExample, Metrics]:
        states = jnp.moveaxis(batch["states"], 1, 0)
        nodes, b = (len(self.grid) - 1) // self.rounds, states.shape[1]
        grid = jnp.asarray(self.grid, states.dtype)
        index = jnp.arange(self.rounds)[:, None] * nodes + jnp.arange(nodes + 1)

        def body(x, at):
            targets, times = at
            times = jnp.broadcast_to(times[:, None], (nodes + 1, b))
            loss, metrics, end = round_loss(
                self.student, params, x, targets, times, batch["cond"], self.draft_weight
            )
            return jax.lax.stop_gradient(end), (loss, metrics)

        _, (loss, metrics) = self.scan(body, states[0], (states[index[:, 1:]], grid[index]))
        return loss.mean(0), jax.tree.map(lambda m: m.mean(0), metrics)
