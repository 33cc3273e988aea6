"""Options of adversarial distillation."""

import dataclasses
from typing import ClassVar

from drf_jax.build.distillation.base import PATH, WithFeatures
from drf_jax.config import at_least


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adversarial(WithFeatures):
    """`drf_jax.objectives.adversarial` of a student that is called at ``steps`` times.

    The discriminator's heads are ``width`` wide, and learn with ``discriminator_learning_rate`` on the maps of a
    classifier.
    """

    steps: int = 4
    distill_weight: float = 2.5
    r1_weight: float = 1e-5
    width: int = 64
    discriminator_learning_rate: float = 1e-3
    family: ClassVar[str] = "adversarial"

    def __post_init__(self):
        super().__post_init__()
        at_least(1, self, PATH, "steps", "width")
        at_least(0, self, PATH, "distill_weight", "r1_weight")

    @property
    def looks(self) -> bool:
        return True
