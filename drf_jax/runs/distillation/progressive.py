"""Progressive distillation: a stage for every halving, each taught by the one before."""

import dataclasses
from pathlib import Path

from drf_jax import build
from drf_jax.denoiser import DenoiserLike
from drf_jax.objectives.model import Model
from drf_jax.objectives.progressive import Progressive, halvings, stage_grid
from drf_jax.process.weighting import WEIGHTINGS
from drf_jax.runs.distillation.stage import Pair, Phase, Setting, Training
from drf_jax.sampling.grid import Grid, make_grid
from drf_jax.sampling.method import Method, serial_method
from drf_jax.sampling.step import DDIM
from drf_jax.typing import Params, PRNGKey


@dataclasses.dataclass(frozen=True)
class ProgressiveStage:
    """The student of ``steps`` steps; the first one's teacher is the run's."""

    spec: build.Progressive
    setting: Setting
    steps: int
    first: bool

    @property
    def name(self) -> str:
        return f"stage-{self.steps}"

    @property
    def calls(self) -> tuple[int, ...]:
        return (self.steps,)

    @property
    def pair(self) -> Pair:
        return Pair(self.setting, self.spec.guidance)

    @property
    def teacher(self) -> Model:
        return self.pair.teacher if self.first else self.pair.student

    def init(self, source: Params, key: PRNGKey) -> Params:
        return self.pair.start(source)

    def training(self, source: Params, folder: Path) -> Training:
        student = self.pair.student
        grid = self.cut(2 * self.steps)
        objective = Progressive(
            student,
            self.teacher,
            student.process,
            WEIGHTINGS[self.spec.weighting],
        )
        phase = Phase(self.pair.shown(objective), self.setting.examples())
        return Training((phase,), {"teacher": source, **stage_grid(grid)}, self.setting.optimizer())

    def serves(self, calls: int) -> bool:
        return calls == self.steps

    def nodes(self, calls: int) -> Grid:
        return self.cut(2 * self.steps)[::2]

    def cut(self, steps: int) -> Grid:
        return make_grid(self.spec.grid, self.pair.student.process, steps)

    def denoiser(self, params: Params, weight: float) -> DenoiserLike:
        return self.pair.at(self.pair.student(params), weight)

    def method(self, params: Params, calls: int, weight: float) -> Method:
        process = self.pair.student.process
        grid, denoiser = self.nodes(calls), self.denoiser(params, weight)
        name = f"{self.spec.family}-{calls}"
        return serial_method(name, DDIM(), denoiser, process, grid, self.setting.loop)


def progressive_stages(spec: build.Progressive, setting: Setting) -> tuple[ProgressiveStage, ...]:
    steps = halvings(spec.start, spec.last)
    return tuple(ProgressiveStage(spec, setting, n, first=n == steps[0]) for n in steps)
