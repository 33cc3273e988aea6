"""Options of students that learn from the teacher's walks."""

import dataclasses
from typing import ClassVar

from drf_jax.build.distillation.base import PATH, WithFeatures
from drf_jax.config import at_least

DTYPES = dict.fromkeys(("float32", "float16"))
"""Of cached trajectories."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithTerms(WithFeatures):
    """What students of the teacher's walk have: further terms of the loss, and their weights."""

    high_frequency_weight: float = 0.0
    """Of `drf_jax.objectives.high_frequency`."""
    perceptual_weight: float = 0.0
    """Of `drf_jax.objectives.perceptual`."""
    adversarial_weight: float = 0.0
    """Of `drf_jax.objectives.adversarial_term`, with the same classifier. Its discriminator learns with a penalty of
    ``r1_weight`` and with ``discriminator_learning_rate``."""
    r1_weight: float = 0.01
    discriminator_learning_rate: float = 1e-3
    weights: ClassVar[tuple[str, ...]] = (
        "high_frequency_weight",
        "perceptual_weight",
        "adversarial_weight",
    )
    looking: ClassVar[tuple[str, ...]] = ("perceptual_weight", "adversarial_weight")

    def __post_init__(self):
        super().__post_init__()
        at_least(0, self, PATH, *self.weights, "r1_weight", "discriminator_learning_rate")
