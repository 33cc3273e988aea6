"""Options of latent consistency models, and of their low-rank kind."""

import dataclasses
from typing import ClassVar

from drf_jax.build.distillation.base import PATH, Distillation
from drf_jax.config import at_least, choose
from drf_jax.networks.lora import KERNELS
from drf_jax.objectives.distance import DISTANCES
from drf_jax.objectives.target import TARGETS


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentConsistency(Distillation):
    """`drf_jax.objectives.latent_consistency`: ``stride`` steps at once of the teacher's ``teacher_steps``."""

    teacher_steps: int = 48
    stride: int = 4
    target: str = "ema"
    distance: str = "huber"
    family: ClassVar[str] = "lcm"

    def __post_init__(self):
        super().__post_init__()
        at_least(2, self, PATH, "teacher_steps")
        choose(TARGETS, self.target, f"{PATH}.target")
        choose(DISTANCES, self.distance, f"{PATH}.distance")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentConsistencyLora(LatentConsistency):
    """The same, training deltas of ``rank`` for the kernels that match ``pattern``, added with ``scale``."""

    rank: int = 16
    scale: float = 1.0
    pattern: str = KERNELS
    family: ClassVar[str] = "lcm-lora"

    def __post_init__(self):
        super().__post_init__()
        at_least(1, self, PATH, "rank")
