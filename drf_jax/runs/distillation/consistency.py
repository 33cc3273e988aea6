"""Consistency distillation and consistency training: neighbours of a trajectory, made with the teacher or without."""

import dataclasses
from pathlib import Path

import numpy as np

from drf_jax import build
from drf_jax.consistency import ConsistencyDenoiser, ConsistencyFunction
from drf_jax.denoiser import DenoiserLike
from drf_jax.objectives.consistency import (
    PAIR_WEIGHTINGS,
    Consistency,
    Neighbour,
    TeacherStep,
    same_noise,
)
from drf_jax.objectives.discretisation import PROPOSALS, Discretisation, doubling
from drf_jax.objectives.distance import DISTANCES
from drf_jax.process.boundary import ConsistencyBoundary
from drf_jax.runs.distillation.features import (
    PERCEPTUAL,
    check_features,
    every_map,
    frozen_classifier,
)
from drf_jax.runs.distillation.stage import AnyTime, Pair, Phase, Setting, Training
from drf_jax.sampling.consistency_method import consistency_method
from drf_jax.sampling.grid import make_grid
from drf_jax.sampling.method import Method
from drf_jax.sampling.step import STEPS
from drf_jax.typing import Params, PRNGKey


@dataclasses.dataclass(frozen=True)
class ConsistencyStage(AnyTime):
    """The neighbours are the teacher's if ``spec`` is of distillation."""

    spec: build.ConsistencyDistillation | build.ConsistencyTraining
    setting: Setting
    name: str = ""
    calls: tuple[int, ...] = (1, 2, 4)

    def __post_init__(self):
        check_features(self.spec, self.setting.teacher.data)

    @property
    def pair(self) -> Pair:
        return Pair(self.setting, self.spec.guidance, "" if self.distils else self.spec.dtype)

    @property
    def distils(self) -> bool:
        return isinstance(self.spec, build.ConsistencyDistillation)

    def init(self, source: Params, key: PRNGKey) -> Params:
        return self.pair.start(source)

    def neighbour(self) -> Neighbour:
        if not self.distils:
            return same_noise
        return TeacherStep(self.pair.teacher, STEPS[self.spec.solver]())

    def intervals(self, update: int) -> int:
        """M of an update."""
        if self.distils:
            return self.spec.intervals
        ends = self.spec.first_intervals, self.spec.last_intervals
        return doubling(update, self.setting.train.steps, *ends)

    def training(self, source: Params, folder: Path) -> Training:
        spec, examples = self.spec, self.setting.examples()
        objective = Consistency(
            self.pair.student,
            Discretisation(self.pair.student.process, spec.sigma_min),
            self.neighbour(),
            spec.target,
            PROPOSALS[spec.proposal](),
            DISTANCES[spec.distance](),
            PAIR_WEIGHTINGS[spec.weighting],
            spec.perceptual_weight,
            every_map,
        )

        def batch(i):
            found = examples(i)
            return {**found, "intervals": np.full(len(found["x0"]), self.intervals(i), np.int32)}

        phase = Phase(self.pair.shown(objective), batch)
        frozen = {"teacher": source} if self.distils else {}
        if spec.looks:
            made = frozen_classifier(self.setting, spec, folder / PERCEPTUAL)
            frozen["features"] = made.params
        return Training((phase,), frozen, self.setting.optimizer())

    def serves(self, calls: int) -> bool:
        return calls >= 1

    def function(self, params: Params, weight: float) -> ConsistencyFunction:
        denoiser = self.pair.at(self.pair.student(params), weight)
        boundary = ConsistencyBoundary(self.spec.sigma_min)
        return ConsistencyFunction(denoiser, self.pair.student.process, boundary)

    def denoiser(self, params: Params, weight: float) -> DenoiserLike:
        return ConsistencyDenoiser(self.function(params, weight))

    def method(self, params: Params, calls: int, weight: float) -> Method:
        f = self.function(params, weight)
        times = make_grid(self.spec.grid, f.process, calls)[:-1]
        name, t_min = f"{self.spec.family}-{calls}", f.boundary.t_min(f.process)
        return consistency_method(name, f, f.process, times, self.setting.loop, t_min)
