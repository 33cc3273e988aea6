"""Options of consistency distillation and consistency training."""

import dataclasses
from typing import ClassVar

from drf_jax.build.distillation.base import PATH, WithFeatures, check_unguided
from drf_jax.config import at_least, choose
from drf_jax.networks.embed import DTYPES as COMPUTE_DTYPES
from drf_jax.objectives.consistency import PAIR_WEIGHTINGS
from drf_jax.objectives.discretisation import PROPOSALS
from drf_jax.objectives.distance import DISTANCES
from drf_jax.objectives.target import TARGETS
from drf_jax.sampling.step import STEPS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Consistency(WithFeatures):
    """What both ways to a consistency function have: a perceptual part of the distance, and its weight."""

    perceptual_weight: float = 0.0
    looking: ClassVar[tuple[str, ...]] = ("perceptual_weight",)

    def __post_init__(self):
        super().__post_init__()
        at_least(0, self, PATH, "perceptual_weight")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConsistencyDistillation(Consistency):
    """`drf_jax.objectives.consistency` with the teacher's ODE step, over ``intervals`` intervals."""

    intervals: int = 17
    solver: str = "heun"
    target: str = "ema"
    proposal: str = "uniform"
    distance: str = "squared"
    weighting: str = "equal"
    sigma_min: float = 2e-3
    family: ClassVar[str] = "consistency-distillation"

    def __post_init__(self):
        super().__post_init__()
        at_least(1, self, PATH, "intervals")
        choose(STEPS, self.solver, f"{PATH}.solver")
        check_consistency(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConsistencyTraining(Consistency):
    """`drf_jax.objectives.consistency` without a teacher's step: its parameters are where the student starts.

    The number of intervals doubles from ``first_intervals`` to ``last_intervals`` during the training. The student
    computes in ``dtype``, its teacher's unless given: in bfloat16, the more the intervals, the more of the difference
    between neighbours is rounding, in float32 less (which multiplies in TF32 on a GPU, unless JAX is told otherwise).
    """

    first_intervals: int = 10
    last_intervals: int = 1280
    dtype: str = ""
    target: str = "stop_gradient"
    proposal: str = "log_normal"
    distance: str = "pseudo_huber"
    weighting: str = "inverse_gap"
    sigma_min: float = 2e-3
    family: ClassVar[str] = "consistency-training"

    def __post_init__(self):
        super().__post_init__()
        at_least(1, self, PATH, "first_intervals")
        at_least(self.first_intervals, self, PATH, "last_intervals")
        if self.dtype:
            choose(dict.fromkeys(COMPUTE_DTYPES), self.dtype, f"{PATH}.dtype")
        check_consistency(self)
        check_unguided(self)


def check_consistency(spec: ConsistencyDistillation | ConsistencyTraining) -> None:
    """Raise unless the names that choose a consistency loss are known."""
    choose(TARGETS, spec.target, f"{PATH}.target")
    choose(PROPOSALS, spec.proposal, f"{PATH}.proposal")
    choose(DISTANCES, spec.distance, f"{PATH}.distance")
    choose(PAIR_WEIGHTINGS, spec.weighting, f"{PATH}.weighting")
