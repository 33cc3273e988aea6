"""Adversarial distillation: score distillation and a discriminator on the maps of a classifier."""

import dataclasses
from pathlib import Path

from drf_jax import build
from drf_jax.consistency import ConsistencyDenoiser, ConsistencyFunction
from drf_jax.denoiser import DenoiserLike
from drf_jax.evaluation.features import Classifier
from drf_jax.networks.discriminator import Discriminator
from drf_jax.objectives.adversarial import Adversarial
from drf_jax.process.boundary import NoBoundary
from drf_jax.runs.distillation.features import (
    ADVERSARY,
    check_features,
    every_map,
    frozen_classifier,
)
from drf_jax.runs.distillation.players import (
    DISCRIMINATOR,
    STUDENT,
    discriminator_of,
    init_discriminator,
)
from drf_jax.runs.distillation.stage import AnyTime, Pair, Phase, Setting, Training
from drf_jax.sampling.consistency import every
from drf_jax.sampling.consistency_method import consistency_method
from drf_jax.sampling.grid import Grid, make_grid
from drf_jax.sampling.method import Method
from drf_jax.training.adversarial_step import by_group
from drf_jax.typing import Params, PRNGKey


@dataclasses.dataclass(frozen=True)
class AdversarialStage(AnyTime):
    """``params`` are ``{"student": ..., "discriminator": ...}``."""

    spec: build.Adversarial
    setting: Setting
    name: str = ""

    def __post_init__(self):
        check_features(self.spec, self.setting.teacher.data)

    @property
    def calls(self) -> tuple[int, ...]:
        return tuple(n for n in (1, 2, 4, 8) if self.serves(n))

    @property
    def pair(self) -> Pair:
        return Pair(self.setting, self.spec.guidance)

    @property
    def times(self) -> Grid:
        """Where the student is called."""
        return make_grid(self.spec.grid, self.pair.student.process, self.spec.steps)[:-1]

    @property
    def discriminator(self) -> Discriminator:
        return discriminator_of(self.setting.teacher.data, self.spec.width)

    def init(self, source: Params, key: PRNGKey) -> Params:
        other = init_discriminator(self.discriminator, self.setting.teacher.data, key)
        return {STUDENT: self.pair.start(source), DISCRIMINATOR: other}

    def classifier(self, folder: Path) -> Classifier:
        """The frozen features, kept in the run's folder."""
        return frozen_classifier(self.setting, self.spec, folder / ADVERSARY)

    def training(self, source: Params, folder: Path) -> Training:
        spec, student = self.spec, self.pair.student
        objective = Adversarial(
            student,
            self.pair.teacher,
            self.discriminator,
            every_map,
            student.process,
            tuple(self.times.tolist()),
            spec.distill_weight,
            spec.r1_weight,
        )
        players = {
            STUDENT: self.setting.optimizer(),
            DISCRIMINATOR: self.setting.optimizer(learning_rate=spec.discriminator_learning_rate),
        }
        phase = Phase(self.pair.shown(objective), self.setting.examples())
        frozen = {"teacher": source, "features": self.classifier(folder).params}
        return Training((phase,), frozen, by_group(players))

    def serves(self, calls: int) -> bool:
        return 1 <= calls <= self.spec.steps

    def function(self, params: Params, weight: float) -> ConsistencyFunction:
        denoiser = self.pair.at(self.pair.student(params[STUDENT]), weight)
        return ConsistencyFunction(denoiser, self.pair.student.process, NoBoundary())

    def denoiser(self, params: Params, weight: float) -> DenoiserLike:
        return ConsistencyDenoiser(self.function(params, weight))

    def method(self, params: Params, calls: int, weight: float) -> Method:
        f = self.function(params, weight)
        name = f"{self.spec.family}-{calls}"
        times = every(self.times, calls)
        return consistency_method(name, f, f.process, times, self.setting.loop)
