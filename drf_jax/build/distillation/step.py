"""Options of step distillation."""

import dataclasses
from typing import ClassVar

from drf_jax.build.distillation.base import PATH
from drf_jax.build.distillation.walk import DTYPES, WithTerms
from drf_jax.config import at_least, choose
from drf_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step(WithTerms):
    """`drf_jax.objectives.step_distillation`: ``steps`` steps, on as many cached trajectories of the teacher.

    From update ``on_policy_after`` on, with batches of ``batch_size_on_policy`` (0: the training's divided by steps).
    """

    steps: int
    trajectories: int
    teacher_steps: int = 48
    spacing: float = 1.0
    """Where along the teacher's walk the student's steps end (`drf_jax.runs.trajectories.Walk`)."""
    on_policy_after: int = 0
    batch_size_on_policy: int = 0
    trajectory_batch: int = 256
    trajectory_dtype: str = "float32"
    family: ClassVar[str] = "step-distilled"

    def __post_init__(self):
        super().__post_init__()
        at_least(1, self, PATH, "steps", "trajectories", "teacher_steps", "trajectory_batch")
        at_least(0, self, PATH, "on_policy_after", "batch_size_on_policy")
        if self.teacher_steps % self.steps:
            raise UserError(
                f"{PATH}.steps = {self.steps}: must divide teacher_steps = {self.teacher_steps}"
            )
        choose(DTYPES, self.trajectory_dtype, f"{PATH}.trajectory_dtype")
