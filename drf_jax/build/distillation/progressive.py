"""Options of progressive distillation."""

import dataclasses
from typing import ClassVar

from drf_jax.build.distillation.base import PATH, Distillation
from drf_jax.config import choose
from drf_jax.objectives.progressive import halvings
from drf_jax.process.weighting import WEIGHTINGS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progressive(Distillation):
    """`drf_jax.objectives.progressive`: from a teacher of ``start`` steps, halved until ``last``."""

    start: int = 32
    last: int = 1
    weighting: str = "truncated_snr"
    family: ClassVar[str] = "progressive"

    def __post_init__(self):
        super().__post_init__()
        halvings(self.start, self.last)
        choose(WEIGHTINGS, self.weighting, f"{PATH}.weighting")
