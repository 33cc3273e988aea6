"""Plain step distillation: trained on the teacher's trajectories as the draft–refine student is, without drafts."""

import dataclasses
from pathlib import Path

from drf_jax import build
from drf_jax.denoiser import DenoiserLike
from drf_jax.objectives.step_distillation import OnPolicy, TeacherForced
from drf_jax.runs.distillation.features import check_features
from drf_jax.runs.distillation.players import optimizer_of, played, student_of, with_players
from drf_jax.runs.distillation.stage import Pair, Phase, Setting, Training
from drf_jax.runs.distillation.terms import frozen_of_terms, further_terms
from drf_jax.runs.trajectories import TRAJECTORIES, Walk
from drf_jax.sampling.grid import Grid, make_grid
from drf_jax.sampling.method import Method, serial_method
from drf_jax.sampling.step import DDIM
from drf_jax.typing import Params, PRNGKey


@dataclasses.dataclass(frozen=True)
class StepStage:
    spec: build.Step
    setting: Setting
    name: str = ""

    def __post_init__(self):
        self.setting.check_batch("config.method.batch_size_on_policy", self.on_policy_batch)
        check_features(self.spec, self.setting.teacher.data)
        self.walk.check()

    @property
    def on_policy_batch(self) -> int:
        share = self.setting.train.batch_size // self.spec.steps
        return self.spec.batch_size_on_policy or max(share, 1)

    @property
    def calls(self) -> tuple[int, ...]:
        return (self.spec.steps,)

    @property
    def pair(self) -> Pair:
        return Pair(self.setting, self.spec.guidance)

    @property
    def walk(self) -> Walk:
        return self.walk_in(self.spec.steps)

    def walk_in(self, steps: int) -> Walk:
        """The teacher's walk, cut into so many steps."""
        spec = self.spec
        return Walk(spec.grid, spec.teacher_steps, steps, spec.guidance, spec.spacing)

    @property
    def times(self) -> Grid:
        return self.cut(self.spec.steps)

    def init(self, source: Params, key: PRNGKey) -> Params:
        return with_players(self.spec, self.setting, self.pair.start(source), key)

    def training(self, source: Params, folder: Path) -> Training:
        setting, spec = self.setting, self.spec
        batches = setting.trajectories(self.walk, spec, folder / TRAJECTORIES)
        student = self.pair.student
        terms = further_terms(spec, setting, student.process)
        shared = (student, student.process, tuple(self.times.tolist()), terms)
        forced, on_policy = TeacherForced(*shared), OnPolicy(*shared, scan=setting.loop.scan)
        return Training(
            (
                Phase(played(spec, forced), batches(setting.train.batch_size, setting.seed)),
                Phase(
                    played(spec, on_policy),
                    batches(self.on_policy_batch, setting.seed + 1),
                    first=spec.on_policy_after,
                ),
            ),
            frozen_of_terms(spec, setting, folder),
            optimizer_of(spec, setting),
        )

    def serves(self, calls: int) -> bool:
        return calls == self.spec.steps

    def nodes(self, calls: int) -> Grid:
        return self.times

    def cut(self, steps: int) -> Grid:
        walk, process = self.walk_in(steps), self.setting.teacher.denoiser.process
        walk.check()
        return make_grid(walk.grid, process, walk.steps)[list(walk.kept)]

    def denoiser(self, params: Params, weight: float) -> DenoiserLike:
        return self.pair.at(self.pair.student(student_of(params)), weight)

    def method(self, params: Params, calls: int, weight: float) -> Method:
        process = self.pair.student.process
        denoiser = self.denoiser(params, weight)
        name = f"{self.spec.family}-{calls}"
        return serial_method(name, DDIM(), denoiser, process, self.times, self.setting.loop)
