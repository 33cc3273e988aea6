"""A hybrid: a distilled network drafts, its teacher refines.

The drafter slot of draft–refine sampling is filled with a network that was distilled for few steps
(`drf_jax.sampling.distilled`). Nothing is trained for it: K drafts cost one call of the student, and one parallel call
of the teacher mends them.
"""

import dataclasses

from drf_jax import build
from drf_jax.config import plain, read
from drf_jax.denoiser import DenoiserLike
from drf_jax.process.schedule import Process
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method, hybrid_method


def method_of(
    rounds: int,
    spec: build.Hybrid,
    student: DenoiserLike,
    teacher: DenoiserLike,
    process: Process,
    grid: Grid,
    loop: Loop,
) -> Method:
    """``ROW-<sequential calls>``, two calls a round; ``grid`` are the times of its steps."""
    name, options = f"{spec.row}-{2 * rounds}", (spec.drafts, spec.relaxation)
    return hybrid_method(name, student, teacher, process, grid, *options, loop)


def hybrid_identity(spec: build.EvaluateDistilled) -> dict:
    """What a hybrid's samples depend on besides its networks and the student's method."""
    asked = dataclasses.asdict(read(build.Hybrid, spec.hybrid, "config.evaluate.hybrid"))
    return plain(asked) | {"drafter": "distilled", "last_round": "one draft"}
