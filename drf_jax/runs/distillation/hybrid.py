"""A hybrid: a distilled network drafts, its teacher refines.

The drafter slot of draft–refine sampling is filled with a network that was distilled for few steps. A consistency
function's x0 is where the trajectory ends, not the mean of where it might, so its skips reach further. Nothing is
trained for it: K drafts cost one call of the student, and one parallel call of the teacher mends them.
"""

from drf_jax import build
from drf_jax.denoiser import DenoiserLike
from drf_jax.process.schedule import Process
from drf_jax.sampling.draft import ConservativeDrafter
from drf_jax.sampling.grid import make_grid
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method, driffusion_method
from drf_jax.sampling.refine import ParallelRefiner


def hybrid_method(
    rounds: int,
    spec: build.Hybrid,
    student: DenoiserLike,
    teacher: DenoiserLike,
    process: Process,
    loop: Loop,
) -> Method:
    """``hybrid-<sequential calls>``, two calls a round."""
    return driffusion_method(
        name=f"hybrid-{2 * rounds}",
        drafter=ConservativeDrafter(student, spec.form),
        refiner=ParallelRefiner(teacher),
        process=process,
        grid=make_grid(spec.grid, process, rounds * (spec.drafts + 1)),
        drafts=spec.drafts,
        form=spec.form,
        loop=loop,
        mode="hybrid",
    )
