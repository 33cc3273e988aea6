"""A draft–refine sampler that starts early: its network calls are programs of their own, compiled side by side.

A sampler as one program is compiled one network after the other. Here the draft network's call, the refine network's
and the decoder are three, and Python goes from one to the next; an accelerator is given the next before it is done with
the one before. It is `driffusion.sample` with one refinement a round: a hybrid's last round, which is a draft less, is
not in it.

    sampler = Parts(drafter, refiner, process, rounds, decode=jax.tree_util.Partial(jax.jit(decode), params))
    sampler.compile(x, cond)              # or leave it out, and the first call does it, one after the other
    image = sampler(x, cond)
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from drf_jax.process.schedule import Process
from drf_jax.sampling import driffusion
from drf_jax.sampling.draft import Drafter
from drf_jax.sampling.driffusion import Rounds
from drf_jax.sampling.loops import PARTS
from drf_jax.sampling.refine import Refiner, refine
from drf_jax.sampling.side_by_side import Call, compile_side_by_side
from drf_jax.typing import Cond, State


@dataclasses.dataclass(frozen=True)
class Parts:
    """``(x [b, *state] at the grid's start, cond) -> [b, *state]``, or what ``decode`` makes of it.

    Args:
      drafter, refiner: the two slots, with one refinement a round.
      process: of the networks.
      rounds: from `driffusion.make_rounds`.
      form: of the reuse step, ``noise`` or ``data``.
      decode: a jitted function of the state, bound to its parameters.
    """

    drafter: Drafter
    refiner: Refiner
    process: Process
    rounds: Rounds
    form: str = "noise"
    decode: Callable[[State], Any] | None = None

    def __call__(self, x: State, cond: Cond = None) -> Any:
        slots = self.drafter, self.refiner, self.process, self.rounds
        x = driffusion.sample(*slots, x, cond, self.form, loop=PARTS).x
        return x if self.decode is None else self.decode(x)

    def compile(self, x: State, cond: Cond = None, threads: int = 3) -> None:
        """Compile all programs for a batch like this one, so many at a time, but at least 2."""
        compile_side_by_side(self.programs(x, cond), max(2, threads))

    def programs(self, x: State, cond: Cond = None) -> list[Call]:
        """The calls that take time to compile, with the shapes of their arguments; the refine network's, which takes
        longest, is first."""
        process, drafter, k = self.process, self.drafter, self.rounds.drafts
        nodes = np.asarray(self.rounds.times[0], x.dtype)
        memory = jax.eval_shape(driffusion.start, drafter, x, nodes, cond)
        times = jax.eval_shape(lambda: driffusion.times_of(nodes, 0.0, len(x), k))
        at = lambda count: jax.ShapeDtypeStruct((count, len(x)), times.nodes.dtype)

        drafting = jax.tree_util.Partial(driffusion.draft, process, drafter)
        drafted = memory, x, at(k + 1), cond
        # Asking the draft network would trace it, and the refine network waits.
        drafts = jax.ShapeDtypeStruct((k, *x.shape), x.dtype)
        anchor = jax.eval_shape(lambda t: driffusion.anchor_of(drafter, x, t), times.nodes)
        refining = jax.tree_util.Partial(refine, process, self.form, self.refiner)
        refined = drafts, at(len(nodes) - 1), times.evaluate_at, cond, anchor
        calls = [(refining, refined), (drafting, drafted)]
        return calls if self.decode is None else [*calls, (self.decode, (x,))]
