"""Draft–refine distillation: the two slots of the sampler learn the teacher's trajectories, round by round.

The first ``on_policy_after`` updates are teacher-forced, the rest on-policy. Before training, each student is the
training-free sampler of its mode.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from drf_jax import build
from drf_jax.data.conditioning import null_cond
from drf_jax.denoiser import DenoiserLike
from drf_jax.errors import UserError
from drf_jax.networks.ahead import AheadNetwork
from drf_jax.networks.classifier import ClassifierNetwork
from drf_jax.networks.cross_draft import CrossDraft
from drf_jax.networks.drafter import DraftNetwork
from drf_jax.networks.network import Backbone
from drf_jax.networks.refiner import RefineNetwork
from drf_jax.networks.transfer import (
    ahead_from_teacher,
    drafter_from_teacher,
    refiner_from_teacher,
)
from drf_jax.objectives.draft_refine import GRADIENTS, OnPolicy, TeacherForced, Term
from drf_jax.objectives.guidance import KEY
from drf_jax.objectives.high_frequency import HighFrequency
from drf_jax.objectives.perceptual import Perceptual
from drf_jax.runs.distillation.features import (
    PERCEPTUAL,
    check_features,
    every_map,
    frozen_classifier,
)
from drf_jax.runs.distillation.stage import Pair, Phase, Setting, Training
from drf_jax.runs.trajectories import TRAJECTORIES, Walk
from drf_jax.sampling.grid import Grid, make_grid
from drf_jax.sampling.learned import Aggressive, Conservative, Student
from drf_jax.sampling.method import Method, driffusion_method
from drf_jax.typing import Params, PRNGKey


@runtime_checkable
class Mode(Protocol):
    """One way to fill the slots: its name in a row, its networks, and where they start."""

    name: str

    def student(self, backbone: Backbone, spec: build.DraftRefine, **shared: Any) -> Student: ...

    def start(
        self, student: Any, source: Params, inputs: Mapping[str, Any], key: PRNGKey
    ) -> Params:
        """The student's parameters that make it the training-free sampler of the source.

        ``inputs`` are those of a network: one state ``x``, its time ``t``, K ``states`` at ``times``, and ``cond``.
        """
        ...

    def calls(self, rounds: int) -> int: ...


def mixer(backbone: Backbone, spec: build.DraftRefine) -> CrossDraft | None:
    if spec.cross_draft == "none":
        return None
    heads, dtype = backbone.heads, backbone.dtype
    return CrossDraft(spec.drafts, heads, dtype, spec.cross_draft, spec.cross_draft_width)


class ConservativeMode:
    name = "learned"

    def student(self, backbone, spec, **shared):
        refiner = RefineNetwork(backbone, spec.drafts, mixer(backbone, spec))
        return Conservative(DraftNetwork(backbone, spec.drafts), refiner, **shared)

    def start(self, student, source, inputs, key):
        x, t, states, times, cond = (inputs[k] for k in ("x", "t", "states", "times", "cond"))
        keys = jax.random.split(key)
        drafter = student.drafter.init(keys[0], x, t, times, cond)["params"]
        refiner = student.refiner.init(keys[1], states, times, cond)["params"]
        return {
            "drafter": drafter_from_teacher(drafter, source, student.drafts),
            "refiner": refiner_from_teacher(refiner, source),
        }

    def calls(self, rounds):
        return 2 * rounds


class AggressiveMode:
    name = "learned-aggressive"

    def student(self, backbone, spec, **shared):
        return Aggressive(AheadNetwork(backbone, spec.drafts, mixer(backbone, spec)), **shared)

    def start(self, student, source, inputs, key):
        states, times, cond = (inputs[k] for k in ("states", "times", "cond"))
        params = student.network.init(key, states, times, cond)["params"]
        return {"network": ahead_from_teacher(params, source, student.drafts)}

    def calls(self, rounds):
        return rounds + 1


MODES: dict[type, Mode] = {
    build.DraftRefine: ConservativeMode(),
    build.DraftRefineAggressive: AggressiveMode(),
}


@dataclasses.dataclass(frozen=True)
class DraftRefineStage:
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
        if spec.perceptual_weight:
            check_features(spec.features, self.setting.teacher.data)

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
        return Walk(spec.grid, spec.teacher_steps, intervals, spec.guidance)

    @property
    def times(self) -> Grid:
        """The nodes of the rounds."""
        return make_grid(self.walk.grid, self.student.process, self.walk.steps)[
            list(self.walk.kept)
        ]

    def init(self, source: Params, key: PRNGKey) -> Params:
        data, k = self.setting.teacher.data, self.spec.drafts
        x = jnp.zeros((1, *data.image_shape))
        inputs = {
            "x": x,
            "t": jnp.zeros(1),
            "states": jnp.zeros((k, *x.shape)),
            "times": jnp.zeros((k, 1)),
            "cond": null_cond(data, 1) | ({KEY: jnp.ones(1)} if self.pair.guided else {}),
        }
        return self.mode.start(self.student, source, inputs, key)

    @property
    def terms(self) -> tuple[Term, ...]:
        """What is minimised besides the states' errors."""
        spec, process = self.spec, self.student.process
        maps = functools.partial(
            every_map, ClassifierNetwork(self.setting.teacher.data.num_classes)
        )
        terms = (
            Term("high_frequency", spec.high_frequency_weight, HighFrequency(process)),
            Term("perceptual", spec.perceptual_weight, Perceptual(process, maps)),
        )
        return tuple(term for term in terms if term.weight)

    def training(self, source: Params, folder: Path) -> Training:
        setting, spec = self.setting, self.spec
        batches = setting.trajectories(self.walk, spec, folder / TRAJECTORIES)
        between = GRADIENTS[spec.gradient]
        shared = (self.student, tuple(self.times.tolist()), spec.rounds, spec.draft_weight, between)
        shared += (self.terms,)
        frozen = {}
        if spec.perceptual_weight:
            frozen["features"] = frozen_classifier(setting, spec, folder / PERCEPTUAL).params
        forced, on_policy = TeacherForced(*shared), OnPolicy(*shared, scan=setting.loop.scan)
        return Training(
            (
                Phase(forced, batches(setting.train.batch_size, setting.seed)),
                Phase(
                    on_policy,
                    batches(self.on_policy_batch, setting.seed + 1),
                    first=spec.on_policy_after,
                ),
            ),
            frozen,
            setting.optimizer(),
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
            *student.slots(params),
            student.process,
            self.times,
            spec.drafts,
            spec.form,
            self.setting.loop,
            "learned",
        )
        return self.pair.method_at(made, weight)
