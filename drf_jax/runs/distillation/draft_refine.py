"""Draft–refine distillation: the two slots of the sampler learn the teacher's trajectories, round by round.

The first ``on_policy_after`` updates are teacher-forced, the rest on-policy. Before training, each student is the
training-free sampler of its mode (`drf_jax.runs.distillation.slots`).

What is trained are the parameters of the student's networks or, by ``config.method``, a tree that they are made of:

    share      what both networks have once (`drf_jax.networks.shared`)
    lora_rank  deltas of what the networks start with (`drf_jax.networks.adapted`), a frozen ``base``

and, where a term of the loss is adversarial, a discriminator beside it (`drf_jax.runs.distillation.players`).
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp

from drf_jax import build
from drf_jax.data.conditioning import null_cond
from drf_jax.denoiser import DenoiserLike
from drf_jax.errors import UserError
from drf_jax.networks.adapted import adapt, adapted, split
from drf_jax.networks.shared import share, unshare
from drf_jax.objectives.draft_refine import GRADIENTS, OnPolicy, TeacherForced
from drf_jax.objectives.end_point import EndPoint
from drf_jax.objectives.guidance import KEY
from drf_jax.objectives.terms import Term
from drf_jax.runs.distillation.features import check_features
from drf_jax.runs.distillation.players import optimizer_of, played, student_of, with_players
from drf_jax.runs.distillation.slots import MODES, Mode
from drf_jax.runs.distillation.stage import AnyTime, Pair, Phase, Setting, Training
from drf_jax.runs.distillation.terms import frozen_of_terms, further_terms
from drf_jax.runs.trajectories import TRAJECTORIES, Walk
from drf_jax.sampling.draft import Drafter
from drf_jax.sampling.grid import Grid, make_grid
from drf_jax.sampling.learned import Student
from drf_jax.sampling.method import Method, driffusion_method
from drf_jax.sampling.refine import Refiner
from drf_jax.typing import Metrics, Objective, Params, PerExample, PRNGKey


@dataclasses.dataclass(frozen=True)
class DraftRefineStage(AnyTime):
    spec: build.DraftRefine
    setting: Setting
    name: str = ""

    def __post_init__(self):
        nodes, spec = self.spec.rounds * self.student.steps, self.spec
        if nodes > spec.teacher_steps:
            raise UserError(
                f"config.method: {spec.rounds} rounds of {self.student.steps} steps each are {nodes}, more than"
                f" teacher_steps = {spec.teacher_steps}"
            )
        self.setting.check_batch("config.method.batch_size_on_policy", self.on_policy_batch)
        check_features(spec, self.setting.teacher.data)
        self.walk.check()

    @property
    def mode(self) -> Mode:
        return MODES[type(self.spec)]

    @property
    def calls(self) -> tuple[int, ...]:
        return (self.mode.calls(self.spec.rounds),)

    @property
    def pair(self) -> Pair:
        return Pair(self.setting, self.spec.guidance)

    @property
    def student(self) -> Student:
        model, spec = self.pair.student, self.spec
        shared = {"process": model.process, "output": model.output, "form": spec.form}
        backbone = model.network.backbone
        return self.mode.student(backbone, spec, drafts=spec.drafts, **shared)

    @property
    def on_policy_batch(self) -> int:
        share = self.setting.train.batch_size // self.spec.rounds
        return self.spec.batch_size_on_policy or max(share, 1)

    @property
    def walk(self) -> Walk:
        spec = self.spec
        intervals = spec.rounds * self.student.steps
        return Walk(spec.grid, spec.teacher_steps, intervals, spec.guidance, spec.spacing)

    @property
    def times(self) -> Grid:
        """The nodes of the rounds."""
        return make_grid(self.walk.grid, self.student.process, self.walk.steps)[
            list(self.walk.kept)
        ]

    def start(self, source: Params, key: PRNGKey) -> Params:
        """What makes the student the training-free sampler of its source."""
        data, k = self.setting.teacher.data, self.spec.drafts
        x = jnp.zeros((1, *data.image_shape))
        inputs = {
            "x": x,
            "t": jnp.zeros(1),
            "states": jnp.zeros((k, *x.shape)),
            "times": jnp.zeros((k, 1)),
            "cond": null_cond(data, 1) | ({KEY: jnp.ones(1)} if self.pair.guided else {}),
        }
        params = self.mode.start(self.student, self.spec, source, inputs, key)
        return params if self.spec.share == "none" else share(params)

    def init(self, source: Params, key: PRNGKey) -> Params:
        params, rank = self.start(source, key), self.spec.lora_rank
        if rank:
            params = adapt(params, rank, jax.random.fold_in(key, rank))
        return with_players(self.spec, self.setting, params, key)

    def base(self, source: Params) -> Params:
        """What deltas are added to."""
        return split(self.start(source, jax.random.key(0)))[0]

    def whole(self, params: Params, frozen: dict[str, Params]) -> Params:
        """Parameters of the student's networks, from those that are trained and those that are frozen."""
        if self.spec.lora_rank:
            params = adapted(frozen["base"], params)
        return params if self.spec.share == "none" else unshare(params)

    def slots(self, params: Params) -> tuple[Drafter, Refiner]:
        """The sampler's two slots with trained parameters."""
        frozen = {}
        if self.spec.lora_rank:
            frozen["base"] = jax.jit(self.base)(self.setting.start(self.spec.source))
        return self.student.slots(self.whole(student_of(params), frozen))

    def of_trained(self, objective: Objective) -> Objective:
        """An objective of the networks' parameters as one of what is trained."""

        def of_student(
            params: Params, frozen: Params, batch: dict, key: PRNGKey
        ) -> tuple[PerExample, Metrics]:
            return objective(self.whole(params, frozen), frozen, batch, key)

        return played(self.spec, of_student)

    @property
    def terms(self) -> tuple[Term, ...]:
        """What is minimised besides the states' errors."""
        end = Term("end", self.spec.end_weight, EndPoint(self.student.process))
        further = further_terms(self.spec, self.setting, self.student.process)
        return ((end,) if end.weight else ()) + further

    def training(self, source: Params, folder: Path) -> Training:
        setting, spec = self.setting, self.spec
        batches = setting.trajectories(self.walk, spec, folder / TRAJECTORIES)
        between = GRADIENTS[spec.gradient]
        shared = (self.student, tuple(self.times.tolist()), spec.rounds)
        shared += (spec.draft_weight, spec.refine_weight, between, self.terms)
        frozen = {}
        if spec.lora_rank:
            frozen["base"] = setting.parameters(jax.jit(self.base), source)
        frozen |= frozen_of_terms(spec, setting, folder)
        rounds = {"between_rounds": GRADIENTS[spec.gradient_between_rounds]}
        forced = TeacherForced(*shared)
        on_policy = OnPolicy(*shared, **rounds, scan=setting.loop.scan)
        return Training(
            (
                Phase(self.of_trained(forced), batches(setting.train.batch_size, setting.seed)),
                Phase(
                    self.of_trained(on_policy),
                    batches(self.on_policy_batch, setting.seed + 1),
                    first=spec.on_policy_after,
                ),
            ),
            frozen,
            optimizer_of(spec, setting),
        )

    def serves(self, calls: int) -> bool:
        return calls in self.calls

    def denoiser(self, params: Params, weight: float) -> DenoiserLike:
        raise UserError(
            f"config.evaluate.hybrid: a student of {self.mode.name} drafts with its own network"
        )

    def method(self, params: Params, calls: int, weight: float) -> Method:
        student, spec = self.student, self.spec
        made = driffusion_method(
            f"{self.mode.name}-{calls}",
            *self.slots(params),
            student.process,
            self.times,
            spec.drafts,
            spec.form,
            self.setting.loop,
            self.mode.name,
        )
        return self.pair.method_at(made, weight)
