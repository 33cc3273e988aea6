"""Plain step distillation: one network that takes each span of the teacher's DDIM walk in one step.

The teacher's trajectory from the same noise is kept at the student's own times, x*_{τ_0} … x*_{τ_n}. The student's
DDIM step over a span is compared with it in units of v (`drf_jax.objectives.draft_refine`, equation 1):

    L = ‖S(f(x, τ_i), τ_{i+1}) − x*_{τ_{i+1}}‖² / c(τ_i, τ_{i+1})²  +  Σ_j w_j L_j                      (1)

with further terms L_j, for which a span is a round of one state (`drf_jax.objectives.high_frequency`, `perceptual`,
`adversarial_term`).
What a draft–refine student is given, its control can be given, too.

`TeacherForced` takes one random span of each trajectory, from the teacher's state x = x*_{τ_i}; `OnPolicy` walks all
of them, each from the state that the student itself reached (no gradient through it). These are the stages of
draft–refine distillation without drafts: the control at equal depth. The student's sampler is DDIM on the grid τ.

Batches are ``{"states": [b, n + 1, *state], "cond": ...}``.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.denoiser import DenoiserLike
from drf_jax.objectives.draft_refine import state_loss
from drf_jax.objectives.model import Model
from drf_jax.objectives.terms import Term, Walked, further_loss
from drf_jax.process.schedule import Process
from drf_jax.sampling.transition import skip
from drf_jax.typing import Cond, Metrics, Params, PerExample, PRNGKey, State, Time


def span_loss(
    process: Process,
    denoiser: DenoiserLike,
    x: State,
    target: State,
    t: Time,
    u: Time,
    cond: Cond,
    terms: tuple[Term, ...] = (),
    frozen: Params = None,
) -> tuple[PerExample, Metrics, State]:
    """Equation (1) for the span t → u from x: the loss, its terms, and where the step ended."""
    end = skip(process, denoiser(x, t, cond), u)
    loss = state_loss(process, end[None], target[None], t, u[None])[0]
    walked = Walked(x, end[None], target[None], jnp.stack([t, u]), cond)
    more, metrics = further_loss(terms, frozen, walked)
    return loss + more, metrics, end


@dataclasses.dataclass(frozen=True)
class TeacherForced:
    """One random span a trajectory. ``grid`` are the n + 1 times of the stored states."""

    model: Model
    process: Process
    grid: tuple[float, ...]
    terms: tuple[Term, ...] = ()

    def __call__(
        self, params: Params, frozen: Params, batch: dict, key: PRNGKey
    ) -> tuple[PerExample, Metrics]:
        states = batch["states"]
        b, nodes = states.shape[:2]
        i, row = jax.random.randint(key, (b,), 0, nodes - 1), jnp.arange(b)
        grid = jnp.asarray(self.grid, states.dtype)
        loss, metrics, _ = span_loss(
            self.process,
            self.model(params),
            states[row, i],
            states[row, i + 1],
            grid[i],
            grid[i + 1],
            batch["cond"],
            self.terms,
            frozen,
        )
        return loss, metrics


@dataclasses.dataclass(frozen=True)
class OnPolicy:
    """All spans, each from where the student is; the loss is their mean, ``end`` that of the last.

    As no gradient runs through the states, the walk comes first, and all spans are one call with a gradient: a deep
    program of small kernels becomes a shallow one of large ones, for a third more operations.

    ``scan`` is ``jax.lax.scan``, or a Python loop where convolutions must not be scanned (`drf_jax.sampling.loops`).
    """

    model: Model
    process: Process
    grid: tuple[float, ...]
    terms: tuple[Term, ...] = ()
    scan: Callable = jax.lax.scan

    def __call__(
        self, params: Params, frozen: Params, batch: dict, key: PRNGKey
    ) -> tuple[PerExample, Metrics]:
        states, cond = batch["states"], batch["cond"]
        b, spans = states.shape[0], states.shape[1] - 1
        grid = jnp.broadcast_to(jnp.asarray(self.grid, states.dtype), (b, spans + 1))
        x = walk(self.model(jax.lax.stop_gradient(params)), self.process, batch, grid, self.scan)
        # Examples are the major axis, so that a batch that is split over devices stays so.
        flat = lambda a: a.reshape(b * spans, *a.shape[2:])
        loss, metrics, _ = span_loss(
            self.process,
            self.model(params),
            flat(x),
            flat(states[:, 1:]),
            flat(grid[:, :-1]),
            flat(grid[:, 1:]),
            jax.tree.map(lambda leaf: jnp.repeat(leaf, spans, axis=0), cond),
            self.terms,
            frozen,
        )
        each = lambda a: a.reshape(b, spans)
        metrics = {name: each(values).mean(1) for name, values in metrics.items()}
        return each(loss).mean(1), {**metrics, "end": each(loss)[:, -1]}


def walk(
    denoiser: DenoiserLike,
    process: Process,
    batch: dict,
    grid: Float[Array, "b nodes"],
    scan: Callable,
) -> Float[Array, "b spans *state"]:
    """Where the student is at the start of every span of the grid, from the teacher's first state."""

    def body(x, at):
        t, u = at
        end = skip(process, denoiser(x, t, batch["cond"]), u)
        return end, end

    x = batch["states"][:, 0]
    times = jnp.moveaxis(grid, 1, 0)[:-1]
    if len(times) < 2:
        return x[:, None]
    _, ends = scan(body, x, (times[:-1], times[1:]))
    return jnp.concatenate([x[:, None], jnp.moveaxis(ends, 0, 1)], axis=1)
