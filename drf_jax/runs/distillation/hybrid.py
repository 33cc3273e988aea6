"""A hybrid: a distilled network drafts, its teacher refines.

The drafter slot of draft–refine sampling is filled with a network that was distilled for few steps
(`drf_jax.sampling.distilled`). Nothing is trained for it: K drafts cost one call of the student, and one parallel call
of the teacher mends them. Where that is the last round its x0 at the last draft is the image, in data form, or what
``relaxation`` makes of it: with one round the other drafts have no part in it.
"""

import functools

from drf_jax import build
from drf_jax.config import plain
from drf_jax.denoiser import DenoiserLike
from drf_jax.process.schedule import Process
from drf_jax.sampling.distilled import DistilledDrafter, relaxed
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method, driffusion_method
from drf_jax.sampling.refine import ParallelRefiner


def hybrid_method(
    rounds: int,
    spec: build.Hybrid,
    student: DenoiserLike,
    teacher: DenoiserLike,
    process: Process,
    grid: Grid,
    loop: Loop,
) -> Method:
    """``ROW-<sequential calls>``, two calls a round; ``grid`` are the times of its steps."""
    return driffusion_method(
        name=f"{spec.row}-{2 * rounds}",
        drafter=DistilledDrafter(student),
        refiner=ParallelRefiner(teacher),
        process=process,
        grid=grid,
        drafts=spec.drafts,
        form=spec.form,
        loop=loop,
        mode="hybrid",
        finish=functools.partial(relaxed, spec.relaxation),
    )


def hybrid_identity(spec: build.EvaluateDistilled) -> dict:
    """What a hybrid's samples depend on besides its networks and the student's method."""
    return plain(spec.hybrid) | {"drafter": "distilled"}
