"""PFGM++ from a diffusion teacher: its network goes on learning to denoise, with the noise of D extra dimensions."""

import dataclasses
from pathlib import Path

from drf_jax import build
from drf_jax.denoiser import Denoiser, DenoiserLike
from drf_jax.process.pfgmpp import Augmented
from drf_jax.runs.distillation.stage import AnyTime, Phase, Setting, Training
from drf_jax.sampling.method import Method
from drf_jax.typing import Params, PRNGKey


@dataclasses.dataclass(frozen=True)
class PFGMPPStage(AnyTime):
    """Guidance is the teacher's way of it: with the empty condition, in the same call."""

    spec: build.PFGMPP
    setting: Setting
    name: str = ""
    calls: tuple[int, ...] = (8, 4, 2)

    @property
    def process(self) -> Augmented:
        return Augmented(self.setting.teacher.denoiser.process, self.spec.dimensions)

    def init(self, source: Params, key: PRNGKey) -> Params:
        return source

    def training(self, source: Params, folder: Path) -> Training:
        teacher = self.setting.teacher
        own = build.denoising(teacher.config, teacher.network)
        objective = dataclasses.replace(own, process=self.process)
        phase = Phase(objective, self.setting.examples())
        return Training((phase,), {}, self.setting.optimizer())

    def serves(self, calls: int) -> bool:
        return calls >= 1

    def conditional(self, params: Params) -> Denoiser:
        teacher = self.setting.teacher
        return Denoiser(params, teacher.network, self.process, teacher.denoiser.output)

    def denoiser(self, params: Params, weight: float) -> DenoiserLike:
        return build.guided(self.conditional(params), weight, self.setting.teacher.data)

    def method(self, params: Params, calls: int, weight: float) -> Method:
        section = {
            "name": "multistep",
            "solver": self.spec.solver,
            "steps": calls,
            "grid": self.spec.grid,
            "guidance": weight,
        }
        name, data = f"{self.spec.family}-{calls}", self.setting.teacher.data
        denoiser, path = self.conditional(params), "config.evaluate.guidance"
        return build.method(name, section, denoiser, data, self.setting.loop, path)
