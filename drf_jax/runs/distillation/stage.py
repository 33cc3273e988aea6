"""What a run of distillation asks of a method, and what the methods share.

A method is one stage or several: each trains one network, from the parameters of the stage before (the first: the
teacher's), which are its ``source``. `drf_jax.runs.distil` does the rest.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax

from drf_jax import build
from drf_jax.data.conditioning import null_cond, null_of
from drf_jax.data.trajectories import trajectory_batches
from drf_jax.denoiser import Denoiser, DenoiserLike
from drf_jax.errors import UserError
from drf_jax.evaluation.features import Classifier, load_classifier, save_classifier
from drf_jax.evaluation.train_classifier import train_classifier
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.transfer import student_from_teacher
from drf_jax.objectives.guidance import KEY, AtWeight, GuidedModel, with_guidance
from drf_jax.objectives.model import Model, NetworkModel
from drf_jax.process.schedule import NormalNoise
from drf_jax.runs.examples import example_batches
from drf_jax.runs.source import Source, unreadable
from drf_jax.runs.teacher import Teacher
from drf_jax.runs.trajectories import Walk, teacher_trajectories
from drf_jax.sampling.grid import Grid, make_grid
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method, compile_for
from drf_jax.training.optimizer import Optimizer, make_optimizer
from drf_jax.typing import Objective, Params, PRNGKey


@dataclasses.dataclass(frozen=True)
class Phase:
    """Part of a training: what is minimised, on which batches, from update ``first`` on."""

    objective: Objective
    batches: Callable[[int], Any]
    first: int = 0


@dataclasses.dataclass(frozen=True)
class Training:
    """How a stage trains. The last phase that has begun is the one that counts; ``frozen`` is a dict of parameters;
    ``finish`` writes what the run's folder holds of the averaged parameters besides checkpoints."""

    phases: tuple[Phase, ...]
    frozen: dict[str, Params]
    optimizer: optax.GradientTransformation
    finish: Callable[[Params], None] = lambda params: None


@runtime_checkable
class Stage(Protocol):
    """One training of one network. ``name`` is its folder in the run's, "" for the run's own; ``calls`` are the numbers
    of sequential calls of its rows, unless others are asked for. All stages after the first share their compiled
    updates: what differs between them must be in ``frozen`` and the batches."""

    name: str
    calls: tuple[int, ...]

    def init(self, source: Params, key: PRNGKey) -> Params:
        """What is trained, before it is."""
        ...

    def training(self, source: Params, folder: Path) -> Training:
        """How it is; what it needs on disk is made in the run's folder."""
        ...

    def serves(self, calls: int) -> bool:
        """Whether the student can sample in so many sequential calls."""
        ...

    def nodes(self, calls: int) -> Grid | None:
        """The times between which the student steps in so many calls; None if it may be asked at any time."""
        ...

    def cut(self, steps: int) -> Grid:
        """Its walk, cut into so many steps."""
        ...

    def denoiser(self, params: Params, weight: float) -> DenoiserLike:
        """The student at a guidance weight, as a denoiser: what the drafter slot of a hybrid is filled with."""
        ...

    def method(self, params: Params, calls: int, weight: float) -> Method:
        """The student's sampler under its row's name, at a guidance weight."""
        ...


class AnyTime:
    """Of stages whose student may be asked at any time, or is not asked by others."""

    spec: build.Distillation
    setting: "Setting"

    def nodes(self, calls: int) -> Grid | None:
        return None

    def cut(self, steps: int) -> Grid:
        return make_grid(self.spec.grid, self.setting.teacher.denoiser.process, steps)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a method is made from besides its options: the teacher, how long to train, and all that takes data or
    arithmetic before the first update, which `drf_jax.plan.distillation` replaces by shapes.

    A batch is cut into ``parts``: over devices, and over the updates that are accumulated. ``load`` reads a run that a
    student may start from, ``load_refiner`` one that may refine in the teacher's place.
    """

    teacher: Teacher
    train: build.Train
    optimizer_spec: Optimizer
    seed: int
    loop: Loop
    parts: int = 1
    load: Callable[[str], Source] = unreadable
    load_refiner: Callable[[str], Source] = unreadable

    def check_batch(self, key: str, size: int) -> None:
        """Raise unless a batch of that size, which a config's key gives, can be cut."""
        if size % self.parts:
            raise UserError(
                f"{key} = {size}: must be a multiple of {self.parts}"
                f" (devices and config.train.accumulate = {self.train.accumulate})"
            )

    def __post_init__(self):
        process = self.teacher.denoiser.process
        if type(process).noise is not NormalNoise.noise:
            raise UserError(f"config.teacher: the noise of {process} is not normal; distil another")

    def start(self, folder: str) -> Params:
        """What the first stage starts from: the network of the run in a folder, the teacher's if that is empty."""
        return self.load(folder).params if folder else self.teacher.denoiser.params

    def refiner(self, folder: str) -> Denoiser:
        """What refines in a hybrid: the teacher, or the run in a folder in its place."""
        teacher = self.teacher.denoiser
        params = self.load_refiner(folder).params if folder else teacher.params
        return dataclasses.replace(teacher, params=params)

    def optimizer(self, **changes: Any) -> optax.GradientTransformation:
        """The config's optimizer, with these of its settings changed."""
        spec = dataclasses.replace(self.optimizer_spec, **changes)
        return make_optimizer(spec, self.train.steps)

    def examples(self) -> Callable[[int], dict[str, Any]]:
        """Batches of the data."""
        return example_batches(self.teacher.data, self.train.batch_size, self.seed)

    def trajectories(
        self, walk: Walk, spec: build.Step | build.DraftRefine, path: Path
    ) -> Callable[[int, int], Callable[[int], dict[str, Any]]]:
        """Batches of the teacher's walks, which are made once and kept in ``path``, for a batch size and a seed."""
        kept = spec.trajectories, spec.trajectory_batch, spec.trajectory_dtype
        cached = teacher_trajectories(self.teacher, walk, path, self.seed, *kept)
        return functools.partial(trajectory_batches, cached)

    def classifier(self, spec: build.WithFeatures, path: Path) -> Classifier:
        """A frozen classifier: from a file or trained, once, and kept in ``path``."""
        data = self.teacher.data
        if not path.exists():
            if spec.features:
                made = load_classifier(spec.features)
            else:
                made = train_classifier(data, spec.feature_seed, steps=spec.feature_steps)
            save_classifier(path, made)
        return load_classifier(path)

    def parameters(self, make: Callable[[Params], Params], source: Params) -> Params:
        """Parameters that are made from others."""
        return make(source)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A student's network and its teacher as models; both read the guidance weight if there is a range of them.

    The student computes in ``dtype``, its teacher's unless given.
    """

    setting: Setting
    guidance: tuple[float, float]
    dtype: str = ""

    def __post_init__(self):
        data = self.setting.teacher.data
        if self.guided and not null_of(data):
            raise UserError(
                f"config.method.guidance = {self.guidance}: the data {data.name} has nothing to guide by"
            )

    @property
    def guided(self) -> bool:
        return self.guidance != build.UNGUIDED

    @property
    def student(self) -> NetworkModel:
        teacher = self.setting.teacher
        backbone = build.computing_in(teacher.network.backbone, self.dtype)
        backbone = dataclasses.replace(backbone, guidance=self.guided)
        denoiser = teacher.denoiser
        return NetworkModel(DenoisingNetwork(backbone), denoiser.process, denoiser.output)

    @property
    def teacher(self) -> Model:
        teacher = self.setting.teacher
        model = NetworkModel(teacher.network, teacher.denoiser.process, teacher.denoiser.output)
        if not self.guided:
            return model
        return GuidedModel(model, null_of(teacher.data))

    def start(self, source: Params) -> Params:
        """The student's parameters that make it its source, whatever the guidance weight: the input for the weight,
        which is all that a teacher lacks, starts at zero."""
        data = self.setting.teacher.data
        cond = null_cond(data, 1) | ({KEY: jnp.ones(1)} if self.guided else {})
        args = jnp.zeros((1, *data.image_shape)), jnp.zeros(1), cond
        shapes = jax.eval_shape(self.student.network.init, jax.random.key(0), *args)["params"]
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return student_from_teacher(zeros, source)

    def shown(self, objective: Objective) -> Objective:
        """The objective, with a weight drawn for each example if the student reads it."""
        return with_guidance(objective, *self.guidance) if self.guided else objective

    def at(self, denoiser: DenoiserLike, weight: float) -> DenoiserLike:
        """The student's denoiser at one weight.

        Raises:
          UserError: the weight is not in the range that the student was shown.
        """
        w = self.shown_weight(weight)
        return AtWeight(denoiser, w) if self.guided else denoiser

    def method_at(self, method: Method, weight: float) -> Method:
        """The method of a student that is no denoiser, at one weight; errors as in `at`."""
        w = self.shown_weight(weight)
        if not self.guided:
            return method
        sample = compile_for(self.setting.loop, sample_at)
        return dataclasses.replace(method, sampler=jax.tree_util.Partial(sample, method.sampler, w))

    def shown_weight(self, weight: float) -> jax.Array:
        low, high = self.guidance
        if not self.guided and weight != low:
            raise UserError(
                f"config.evaluate.guidance = {weight}: this student was not trained to take a weight"
            )
        if not low <= weight <= high:
            raise UserError(
                f"config.evaluate.guidance = {weight}: the student was shown weights from {low} to {high}"
            )
        return jnp.asarray(weight, jnp.float32)


def sample_at(sampler, weight, noise, keys, cond):
    """A sampler whose networks read the guidance weight in their conditioning, shown the same one always."""
    return sampler(noise, keys, {**(cond or {}), KEY: jnp.full(len(noise), weight)})
