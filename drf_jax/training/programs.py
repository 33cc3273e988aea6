"""Updates, and what networks start as, that several runs of one process share: traced and compiled once.

Two runs may share an update where nothing differs that is part of its program: lengths and learning rates are data
(`drf_jax.training.optimizer`), and so is how finely time is cut (`drf_jax.objectives.discretisation`).
"""

from collections.abc import Callable, Hashable
from typing import TypeVar

from drf_jax.training.step import TrainStep

Program = TypeVar("Program", bound=Callable)


class Programs:
    """What was made so far, by what tells updates of one config apart."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Callable] = {}
        self.compiled: dict[TrainStep, float | None] = {}
        """Those that were run, of `drf_jax.training.loop.train`."""

    def get(self, key: Hashable, make: Callable[[], Program]) -> Program:
        """The program of this key; made where there is none."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]
