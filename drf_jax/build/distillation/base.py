"""What the options of all distillation methods have in common."""

import dataclasses
from typing import ClassVar

from drf_jax.config import at_least, naming
from drf_jax.errors import UserError
from drf_jax.sampling.grid import check_name

PATH = "config.method"
UNGUIDED = (1.0, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distillation:
    """What all methods have: the range of guidance weights, and the grid of the student's own times."""

    guidance: tuple[float, ...] = UNGUIDED
    grid: str = "uniform"
    family: ClassVar[str]
    source: ClassVar[str] = ""
    """Folder of the run whose network the student starts as, where that may be another than the teacher."""

    def __post_init__(self):
        if len(self.guidance) != 2 or not 0 <= self.guidance[0] <= self.guidance[1]:
            raise UserError(f"{PATH}.guidance = {self.guidance}: must be a range (low, high)")
        with naming(PATH):
            check_name(self.grid)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithFeatures(Distillation):
    """What methods have whose loss may look through a frozen classifier.

    It is of the file ``features``, or trained for ``feature_steps`` updates with the seed ``feature_seed``.
    """

    features: str = ""
    feature_steps: int = 600
    feature_seed: int = 1
    looking: ClassVar[tuple[str, ...]] = ()
    """Weights of what looks through it."""

    def __post_init__(self):
        super().__post_init__()
        at_least(1, self, PATH, "feature_steps")
        at_least(0, self, PATH, "feature_seed")

    @property
    def looks(self) -> bool:
        """Whether the loss does."""
        return any(getattr(self, weight) > 0 for weight in self.looking)


def check_unguided(spec: Distillation) -> None:
    """Raise if a student without a teacher is to be shown guidance weights."""
    if spec.guidance != UNGUIDED:
        raise UserError(f"{PATH}.guidance = {spec.guidance}: there is no teacher to guide")
