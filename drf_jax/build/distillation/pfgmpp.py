"""Options of a teacher that goes on as a PFGM++."""

import dataclasses
from typing import ClassVar

from drf_jax.build.distillation.base import PATH, Distillation, check_unguided
from drf_jax.build.samplers.multistep import SOLVERS
from drf_jax.config import choose
from drf_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class PFGMPP(Distillation):
    """The teacher goes on as a PFGM++ of D = ``dimensions`` (`drf_jax.process.pfgmpp`), by its own objective.

    It is sampled by ``solver``, of the multistep ones.
    """

    dimensions: float = 2048.0
    solver: str = "dpmpp-2m"
    family: ClassVar[str] = "pfgmpp"

    def __post_init__(self):
        super().__post_init__()
        if self.dimensions <= 0:
            raise UserError(f"{PATH}.dimensions = {self.dimensions}: must be positive")
        choose(SOLVERS, self.solver, f"{PATH}.solver")
        check_unguided(self)
