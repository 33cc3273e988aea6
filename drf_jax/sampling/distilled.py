"""Hybrids: a distilled network drafts, and its teacher refines.

A network that was distilled for few steps predicts where the trajectory ends, or the straight line to where its own
next step does, not the mean of where it might, so its skips reach further. Yet it is not the network whose trajectory
is wanted, so that a round that began with its step would begin wrong. The refiner's call therefore has the anchor x at
t_0 as one more state, which costs no call:

    p = f(x, t_0),    d_j = S(p, t_j)                                            the student's call
    p_0, p_1 … p_K = g(x, d_1 … d_K)                                             the teacher's call
    r_1 = S̃(x, p_0, t_0 → t_1),  r_{j+1} = S̃(r_j, p_j, t_j → t_{j+1})

so every step is the teacher's, the first one exactly the serial sampler's, and a round takes K + 1 steps for two
sequential calls.

In data form the last round's image is the teacher's x0 at its last draft alone, p_K.x0, so that draft (the last before
the grid's end) is all that the teacher evaluates there. It knows of the image what the student said, p.x0, under the
noise of t_K. As a step from there towards a denoised image it may be too short: over-relaxation takes it ω > 1 times
(ω = 1: as it is),

    p.x0 + ω (p_K.x0 − p.x0)                                                                           (1)

A network that was distilled for any number of steps may be best at the last one. Where it ``ends``, the last round is
its call alone: the image is p.x0, as with ω = 0, and the teacher is not asked, so R rounds are 2 R − 1 calls.
"""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from drf_jax import pytree
from drf_jax.denoiser import DenoiserLike
from drf_jax.errors import UserError
from drf_jax.process.schedule import Process
from drf_jax.sampling import driffusion
from drf_jax.sampling.loops import COMPILED, Loop
from drf_jax.sampling.refine import ParallelRefiner
from drf_jax.sampling.result import Result
from drf_jax.sampling.transition import skip
from drf_jax.typing import Cond, State

FORM = "data"
TEACHER, STUDENT = "teacher", "student"
"""Who ends the last round."""


@pytree.register
@dataclasses.dataclass(frozen=True)
class DistilledDrafter:
    denoiser: DenoiserLike
    calls: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    initial_calls: ClassVar[int] = 0
    initial_evaluations: ClassVar[int] = 0
    extra_steps: ClassVar[int] = 1
    anchored: ClassVar[bool] = True

    def start(self, x, t, cond):
        return ()

    def __call__(self, process, memory, x, times, cond):
        p = self.denoiser(x, times[0], cond)
        return jax.vmap(lambda u: skip(process, p, u))(times[1:]), memory

    def remember(self, memory, times, predictions):
        return memory


@functools.partial(jax.jit, static_argnames=("process",))
def last_round(
    process: Process,
    student: DenoiserLike,
    teacher: DenoiserLike,
    x: State,
    t: float | jax.Array,
    last: float | jax.Array,
    relaxation: float | jax.Array,
    cond: Cond = None,
) -> State:
    """Equation (1): the image of a round from x at t whose last draft is at ``last``."""
    at = lambda time: jnp.full(len(x), time, x.dtype)
    p = student(x, at(t), cond)
    image = teacher(skip(process, p, at(last)), at(last), cond).x0
    return p.x0 + relaxation * (image - p.x0)


@jax.jit
def last_call(student: DenoiserLike, x: State, t: float | jax.Array, cond: Cond = None) -> State:
    """The student's image, from x at t."""
    return student(x, jnp.full(len(x), t, x.dtype), cond).x0


def cost(rounds: driffusion.Rounds, ends: str = TEACHER) -> tuple[int, int]:
    """(sequential calls, network evaluations) of a sample."""
    before, last = len(rounds.times) - 1, 2 if ends == TEACHER else 1
    return 2 * before + last, before * (rounds.drafts + 2) + last


def sample(
    student: DenoiserLike,
    teacher: DenoiserLike,
    process: Process,
    rounds: driffusion.Rounds,
    x: State,
    cond: Cond = None,
    relaxation: float = 1.0,
    ends: str = TEACHER,
    loop: Loop = COMPILED,
) -> Result:
    """Sample by rounds of a student's drafts and its teacher's predictions, from x ``[b, *state]`` at the grid's start.

    Args:
      student, teacher: pytrees.
      rounds: from `drf_jax.sampling.driffusion.make_rounds`, with the ``extra_steps`` of a `DistilledDrafter`.
      cond: conditioning with a leading batch axis, passed on untouched.
      relaxation: ω of equation (1).
      ends: ``teacher`` or ``student``, whose the last call is.
      loop: compiled or Python (`drf_jax.sampling.loops`).

    Raises:
      UserError: nobody ``ends`` so.
    """
    if ends not in (TEACHER, STUDENT):
        raise UserError(f"ends = {ends!r}: choose {TEACHER!r} or {STUDENT!r}")
    before = dataclasses.replace(rounds, times=rounds.times[:-1])
    if len(before.times):
        slots = DistilledDrafter(student), ParallelRefiner(teacher)
        x = driffusion.sample(*slots, process, before, x, cond, FORM, loop=loop).x
    t, last = np.asarray([rounds.times[-1, 0], rounds.last_interior], x.dtype)
    if ends == STUDENT:
        x = last_call(student, x, t, cond)
    else:
        x = last_round(process, student, teacher, x, t, last, relaxation, cond)
    calls, evaluations = (jnp.full(len(x), n, jnp.int32) for n in cost(rounds, ends))
    return Result(x, calls, evaluations)
