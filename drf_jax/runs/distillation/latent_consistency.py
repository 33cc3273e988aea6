"""Latent consistency distillation, of all parameters or of low-rank deltas (LCM, LCM-LoRA)."""

import dataclasses
from pathlib import Path

from drf_jax import build
from drf_jax.consistency import ConsistencyDenoiser, ConsistencyFunction
from drf_jax.denoiser import DenoiserLike
from drf_jax.networks.lora import init_lora, merge, with_lora
from drf_jax.networks.lora_file import save_lora
from drf_jax.objectives.distance import DISTANCES
from drf_jax.objectives.latent_consistency import LatentConsistency
from drf_jax.process.boundary import LCMBoundary
from drf_jax.runs.distillation.stage import AnyTime, Pair, Phase, Setting, Training
from drf_jax.sampling.consistency import every
from drf_jax.sampling.consistency_method import consistency_method
from drf_jax.sampling.grid import Grid, make_grid
from drf_jax.sampling.method import Method
from drf_jax.typing import Objective, Params, PRNGKey

LORA = "lora.npz"
"""The deltas alone, in the folder of the run, once they are trained."""


@dataclasses.dataclass(frozen=True)
class LatentConsistencyStage(AnyTime):
    """The teacher's grid ends at the boundary's ``t_min``, a little above the data."""

    spec: build.LatentConsistency
    setting: Setting
    name: str = ""
    calls: tuple[int, ...] = (1, 2, 4)
    boundary: LCMBoundary = LCMBoundary()

    def __post_init__(self):
        self.objective()  # its errors are of the config

    @property
    def pair(self) -> Pair:
        return Pair(self.setting, self.spec.guidance)

    @property
    def grid(self) -> Grid:
        made = make_grid(self.spec.grid, self.pair.student.process, self.spec.teacher_steps)
        return made.clip(min=self.boundary.t_min)

    def objective(self) -> Objective:
        made = LatentConsistency(
            self.pair.student,
            self.pair.teacher,
            self.pair.student.process,
            tuple(self.grid.tolist()),
            self.spec.stride,
            self.boundary,
            self.spec.target,
            DISTANCES[self.spec.distance](),
        )
        return self.pair.shown(made)

    def init(self, source: Params, key: PRNGKey) -> Params:
        return self.pair.start(source)

    def training(self, source: Params, folder: Path) -> Training:
        phase = Phase(self.objective(), self.setting.examples())
        return Training((phase,), {"teacher": source}, self.setting.optimizer())

    def serves(self, calls: int) -> bool:
        return 1 <= calls <= self.spec.teacher_steps

    def function(self, params: Params, weight: float) -> ConsistencyFunction:
        denoiser = self.pair.at(self.pair.student(params), weight)
        return ConsistencyFunction(denoiser, self.pair.student.process, self.boundary)

    def denoiser(self, params: Params, weight: float) -> DenoiserLike:
        return ConsistencyDenoiser(self.function(params, weight))

    def method(self, params: Params, calls: int, weight: float) -> Method:
        f = self.function(params, weight)
        times = every(self.grid[:-1], calls)
        name = f"{self.spec.family}-{calls}"
        return consistency_method(name, f, f.process, times, self.setting.loop)


@dataclasses.dataclass(frozen=True)
class LoraStage(LatentConsistencyStage):
    """The same; ``params`` are deltas of the network that starts as the teacher."""

    spec: build.LatentConsistencyLora

    def init(self, source: Params, key: PRNGKey) -> Params:
        return init_lora(self.pair.start(source), self.spec.pattern, self.spec.rank, key)

    def training(self, source: Params, folder: Path) -> Training:
        objective = with_lora(self.objective(), self.spec.scale)
        phase = Phase(objective, self.setting.examples())
        frozen = {"teacher": source, "base": self.setting.parameters(self.pair.start, source)}
        finish = lambda lora: save_lora(folder / LORA, lora, self.spec.scale)
        return Training((phase,), frozen, self.setting.optimizer(), finish)

    def function(self, params: Params, weight: float) -> ConsistencyFunction:
        base = self.pair.start(self.setting.teacher.denoiser.params)
        return super().function(merge(base, params, self.spec.scale), weight)
