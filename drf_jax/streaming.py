"""Pictures that follow the typing: every round's preview as soon as it is ready, and no work for requests of the past.

A round of draft–refine sampling ends at a state r_M at t_M, reached with the prediction p_K. Its *preview* is where
p_K would take r_M at once, to the end t_N of the grid,

    x̂ = S̃(r_M, p_K, t_M → t_N)                                                                                       (1)

which in the noise form is the refined x0. After the last round t_M = t_N, so the last preview is the sampler's result.

`previews` is one request: one program a round, compiled once for all rounds. `Streamer` is many, from any thread: a new
request takes the place of the one before, which stops at the end of the round it is in. Rounds run one at a time and
are waited for, so at most one round of an old request delays a new one, however many there were.
"""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from drf_jax.errors import UserError
from drf_jax.process.gaussian import prior
from drf_jax.process.schedule import Process
from drf_jax.sampling.draft import Drafter
from drf_jax.sampling.driffusion import Nodes, Rounds, evaluated, first_pass, start
from drf_jax.sampling.refine import Refiner
from drf_jax.sampling.transition import FORMS, reuse
from drf_jax.typing import Cond, State


@dataclasses.dataclass(frozen=True)
class Preview:
    """What there is after ``round`` (from 1) of ``rounds``: a state, or what a decoder made of it."""

    x: Any
    round: int
    rounds: int

    @property
    def final(self) -> bool:
        return self.round == self.rounds


@functools.partial(jax.jit, static_argnames=("process", "form"))
def advance(
    process: Process,
    form: str,
    drafter: Drafter,
    refiner: Refiner,
    carry: tuple[State, Any],
    nodes: Nodes,
    last_interior: float | jax.Array,
    end: float | jax.Array,
    cond: Cond,
) -> tuple[tuple[State, Any], State]:
    """One round: the next carry and the preview, equation (1)."""
    x, memory = carry
    made = first_pass(process, form, drafter, refiner, memory, x, nodes, last_interior, cond)
    # What follows the prediction of the last draft, if anything, is for the drafter.
    index = evaluated(drafter, len(made.drafts)) - 1
    last = jax.tree.map(lambda leaf: leaf[index], made.refined.predictions)
    t = made.times[-1]
    preview = reuse(process, form, made.refined.states[-1], last, t, jnp.full_like(t, end))
    return made.carry, preview


def previews(
    drafter: Drafter,
    refiner: Refiner,
    process: Process,
    rounds: Rounds,
    x: State,
    cond: Cond = None,
    form: str = "noise",
) -> Iterator[Preview]:
    """Sample as `driffusion.sample` does with one refinement, and yield each round's preview when it is ready.

    Args:
      drafter, refiner: the two slots.
      process: of the networks.
      rounds: from `make_rounds`.
      x: start ``[b, *state]`` at the grid's start.
      cond: conditioning with a leading batch axis.
      form: ``noise`` or ``data``.

    Raises:
      UserError: unknown form.
    """
    if form not in FORMS:
        raise UserError(f"form = {form!r}: choose one of {list(FORMS)}")
    times = np.asarray(rounds.times, x.dtype)
    carry = x, start(drafter, x, times[0], cond)
    limits = np.asarray([rounds.last_interior, times[-1, -1]], x.dtype)
    for i, nodes in enumerate(times):
        carry, preview = advance(process, form, drafter, refiner, carry, nodes, *limits, cond)
        yield Preview(jax.block_until_ready(preview), i + 1, len(times))


class Streamer:
    """Requests of one sampler; only the newest is worked on. Safe to use from several threads.

        streamer = Streamer(lambda noise, cond: previews(drafter, refiner, process, rounds, noise, cond))
        for preview in streamer.request(noise, cond):   # ends early when somebody asks for something newer
            show(preview.x)

    Args:
      sample: ``(*args) -> iterator``; does its work as it is iterated.
    """

    def __init__(self, sample: Callable[..., Iterator[Preview]]) -> None:
        self._sample = sample
        self._newest = 0
        self._counting, self._working = threading.Lock(), threading.Lock()

    def request(self, *args: Any) -> Iterator[Preview]:
        """Previews for these arguments of ``sample``. From this call on all requests before it are cancelled."""
        with self._counting:
            self._newest += 1
            ticket = self._newest
        return self._serve(ticket, args)

    def cancel(self) -> None:
        """Stop the newest request too, at the end of its round."""
        with self._counting:
            self._newest += 1

    def _serve(self, ticket: int, args: tuple) -> Iterator[Preview]:
        source = None
        while True:
            with self._working:
                if ticket != self._newest:
                    return
                source = self._sample(*args) if source is None else source
                preview = next(source, None)
            if preview is None or ticket != self._newest:
                return
            yield preview


def streamer(
    drafter: Drafter,
    refiner: Refiner,
    process: Process,
    rounds: Rounds,
    form: str = "noise",
    decode: Callable[[State], Any] | None = None,
) -> Streamer:
    """A streamer whose requests are ``(noise, cond)``; the noise is the process's own, of unit variance.

    ``decode`` turns a preview's state into what is shown, such as a latent into an image; it is part of the round.
    """
    t = float(rounds.times[0, 0])

    def sample(noise: State, cond: Cond = None) -> Iterator[Preview]:
        x = prior(process, noise, t)
        for preview in previews(drafter, refiner, process, rounds, x, cond, form):
            shown = preview.x if decode is None else jax.block_until_ready(decode(preview.x))
            yield dataclasses.replace(preview, x=shown)

    return Streamer(sample)
