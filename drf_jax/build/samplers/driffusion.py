"""The training-free draft–refine sampler (`drf_jax.sampling.driffusion`)."""

import dataclasses
from collections.abc import Callable

from drf_jax.config import at_least, choose
from drf_jax.denoiser import DenoiserLike
from drf_jax.errors import UserError
from drf_jax.process.schedule import Process
from drf_jax.sampling.anchored import AnchoredDrafter
from drf_jax.sampling.draft import AggressiveDrafter, ConservativeDrafter, Drafter
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method, driffusion_method
from drf_jax.sampling.refine import ParallelRefiner
from drf_jax.sampling.transition import FORMS

DRAFTERS: dict[str, Callable[..., Drafter]] = {
    "conservative": ConservativeDrafter,
    "aggressive": AggressiveDrafter,
    "anchored": lambda denoiser, *options: AnchoredDrafter(denoiser.process, *options),
}
"""Mode -> its drafter, of a denoiser and as many as wanted of form and order."""


@dataclasses.dataclass(frozen=True)
class DRiffusion:
    """``refinements`` a round, at most as many as needed for ``tolerance`` (0: all).

    ``form`` is the reuse step of the refinement and, unless ``draft_form`` is given, of the drafts.
    """

    steps: int
    drafts: int
    mode: str
    grid: str = "uniform"
    form: str = "noise"
    draft_form: str = ""
    order: int = 1
    refinements: int = 1
    tolerance: float = 0.0
    guidance: float = 1.0

    def __post_init__(self):
        choose(DRAFTERS, self.mode, "mode")
        choose(dict.fromkeys(FORMS), self.form, "form")
        choose(dict.fromkeys(FORMS), self.draft_form or self.form, "draft_form")
        at_least(1, self, "driffusion", "drafts", "order")
        at_least(0, self, "driffusion", "tolerance")
        if not 1 <= self.refinements <= self.drafts:
            raise UserError(f"refinements = {self.refinements}: choose 1 to drafts = {self.drafts}")


def make(
    name: str, spec: DRiffusion, denoiser: DenoiserLike, process: Process, grid: Grid, loop: Loop
) -> Method:
    return driffusion_method(
        name,
        DRAFTERS[spec.mode](denoiser, spec.draft_form or spec.form, spec.order),
        ParallelRefiner(denoiser),
        process,
        grid,
        spec.drafts,
        spec.form,
        loop,
        spec.mode,
        spec.refinements,
        spec.tolerance or None,
    )
