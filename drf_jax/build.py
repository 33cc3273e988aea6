"""From a config to typed objects: the one place with tables of names.

Nothing below this module sees a ConfigDict. A config describes one run: ``task`` is ``teacher`` (denoising) or
``draft_refine`` (distillation of the two networks from a teacher's run).
"""

import dataclasses
import inspect
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from drf_jax.config import at_least, choose, read, split_name
from drf_jax.data.prepare import RECIPES
from drf_jax.data.source import SOURCES, Source, load_source
from drf_jax.denoiser import Denoiser, DenoiserLike
from drf_jax.errors import UserError
from drf_jax.evaluation.extractor import EXTRACTORS
from drf_jax.evaluation.features import FEATURE_SPACE
from drf_jax.evaluation.report import FAMILIES, family
from drf_jax.evaluation.score import check_metrics
from drf_jax.networks.dit import DiT
from drf_jax.networks.drafter import DraftNetwork
from drf_jax.networks.network import Backbone, DenoisingNetwork
from drf_jax.networks.refiner import RefineNetwork
from drf_jax.networks.unet import UNet
from drf_jax.objectives.denoising import Denoising
from drf_jax.objectives.draft_refine import Student
from drf_jax.process.prediction import check_kind
from drf_jax.process.schedule import VE, CosineVP, LinearVP, Process, RectifiedFlow
from drf_jax.process.table import Table
from drf_jax.process.time import TIME_DISTRIBUTIONS
from drf_jax.process.weighting import WEIGHTINGS
from drf_jax.sampling.draft import AggressiveDrafter, ConservativeDrafter
from drf_jax.sampling.grid import Grid, make_grid
from drf_jax.sampling.guidance import Guided
from drf_jax.sampling.loops import COMPILED, PYTHON, Loop
from drf_jax.sampling.method import Method, driffusion_method, serial_method
from drf_jax.sampling.refine import ParallelRefiner
from drf_jax.sampling.step import DDIM, STEPS
from drf_jax.sampling.transition import FORMS
from drf_jax.sharding import make_mesh
from drf_jax.training.optimizer import Optimizer
from drf_jax.typing import Params, PRNGKey

PROCESSES = {
    "cosine": CosineVP,
    "linear": LinearVP,
    "table": Table,
    "ve": VE,
    "rectified_flow": RectifiedFlow,
}
BACKBONES = {"dit": DiT, "unet": UNet}


@dataclasses.dataclass(frozen=True)
class TeacherRun:
    """The keys of a teacher's config."""

    task: str
    seed: int
    data: dict
    process: dict
    output: str
    network: dict
    objective: dict
    optimizer: dict
    train: dict
    mesh: dict
    sampler: dict
    evaluate: dict


@dataclasses.dataclass(frozen=True)
class StudentRun:
    """The keys of a student's config; ``teacher`` is the folder of the teacher's run."""

    task: str
    seed: int
    teacher: str
    distill: dict
    optimizer: dict
    train: dict
    mesh: dict
    evaluate: dict


TASKS = {"teacher": TeacherRun, "draft_refine": StudentRun}


@dataclasses.dataclass(frozen=True)
class Train:
    """How long and how often; ``seed`` is the config's own."""

    steps: int
    batch_size: int
    ema: float = 0.999
    accumulate: int = 1
    log_every: int = 100
    checkpoint_every: int = 1000
    sample_every: int = 0
    keep: int = 2
    tensorboard: bool = False

    def __post_init__(self):
        positive = ("steps", "batch_size", "accumulate", "log_every", "checkpoint_every", "keep")
        at_least(1, self, "config.train", *positive)
        at_least(0, self, "config.train", "sample_every")
        if not 0 <= self.ema < 1:
            raise UserError(f"config.train.ema = {self.ema}: must be at least 0 and below 1")
        if self.batch_size % self.accumulate:
            raise UserError(
                f"config.train.accumulate = {self.accumulate}: must divide batch_size = {self.batch_size}"
            )


@dataclasses.dataclass(frozen=True)
class Mesh:
    data: int = -1
    draft: int = 1
    model: int = 1


@dataclasses.dataclass(frozen=True)
class Objective:
    weighting: str = "v"
    times: str = "stratified"
    label_dropout: float = 0.0

    def __post_init__(self):
        if not 0 <= self.label_dropout <= 1:
            raise UserError(
                f"config.objective.label_dropout = {self.label_dropout}: must be from 0 to 1"
            )


@dataclasses.dataclass(frozen=True)
class Distill:
    """Draft–refine distillation. The teacher's grid has ``teacher_steps`` steps; a student's round takes
    ``teacher_steps / rounds`` of them, cut into ``drafts + 1`` equal intervals."""

    teacher_steps: int
    rounds: int
    drafts: int
    trajectories: int
    grid: str = "uniform"
    form: str = "data"
    draft_weight: float = 1.0
    on_policy_after: int = 0
    batch_size_on_policy: int = 0
    trajectory_batch: int = 256
    trajectory_dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Teacher steps between two nodes of a round."""
        return self.teacher_steps // (self.rounds * (self.drafts + 1))

    def __post_init__(self):
        positive = ("teacher_steps", "rounds", "drafts", "trajectories", "trajectory_batch")
        at_least(1, self, "config.distill", *positive)
        at_least(0, self, "config.distill", "on_policy_after", "batch_size_on_policy")
        nodes = self.rounds * (self.drafts + 1)
        if self.teacher_steps % nodes:
            raise UserError(
                f"config.distill: rounds × (drafts + 1) = {self.rounds} × ({self.drafts} + 1) = {nodes}"
                f" must divide teacher_steps = {self.teacher_steps}"
            )
        if self.form not in FORMS:
            raise UserError(
                f"config.distill.form = {self.form!r}: choose one of {', '.join(FORMS)}"
            )
        if self.trajectory_dtype not in ("float32", "float16"):
            raise UserError(
                f"config.distill.trajectory_dtype = {self.trajectory_dtype!r}: choose float32 or float16"
            )


def task(config: Mapping[str, Any]) -> str:
    """Which kind of run a config describes.

    Raises:
      UserError: unknown task, or the config has not the keys of that task, or a seed out of range.
    """
    run = read(choose(TASKS, config.get("task"), "config.task"), config, "config")
    if not 0 <= run.seed < 2**32:
        raise UserError(f"config.seed = {run.seed}: must be at least 0 and below 2**32")
    return run.task


def check_task(config: Mapping[str, Any], wanted: str, where: str) -> None:
    """Raise unless the config describes a run of this kind; ``where`` it was found."""
    found = task(config)
    if found != wanted:
        raise UserError(f"{where}: config.task is {found!r}, and {wanted!r} is needed here")


def process(config: Mapping[str, Any]) -> Process:
    name, rest = split_name(config["process"], "config.process")
    return read(choose(PROCESSES, name, "config.process.name"), rest, "config.process")


def source(config: Mapping[str, Any]) -> Source:
    name, rest = split_name(config["data"], "config.data")
    try:
        return load_source(name, **rest)
    except TypeError as error:
        options = inspect.signature(SOURCES[name]).parameters
        allowed = ", ".join(["limit", *options])
        raise UserError(f"config.data: {error}; allowed: name, {allowed}") from None


def split(config: Mapping[str, Any], name: str) -> Source:
    """Another split of ``config.data``.

    Raises:
      UserError: the data set has no such split, or no splits.
    """
    if config["data"]["name"] not in RECIPES:
        raise UserError(f"data set {config['data']['name']!r} has no splits, so no {name!r}")
    return source({"data": {**config["data"], "split": name}})


def backbone(config: Mapping[str, Any], data: Source) -> Backbone:
    """The network's description; channels and classes are the data's."""
    name, rest = split_name(config["network"], "config.network")
    given = {"channels": data.image_shape[-1], "num_classes": data.num_classes}
    for key in given:
        if key in rest:
            raise UserError(f"config.network.{key}: set by the data, leave it out")
    cls = choose(BACKBONES, name, "config.network.name")
    made = read(cls, {**rest, **given}, "config.network")
    made.check_image(*data.image_shape)
    return made


def output(config: Mapping[str, Any]) -> str:
    check_kind(config["output"])
    return config["output"]


def loop(config: Mapping[str, Any]) -> Loop:
    """Convolutions on a CPU want the Python loop, everything else the compiled one."""
    convolutional = config["network"]["name"] == "unet"
    return PYTHON if convolutional and jax.default_backend() == "cpu" else COMPILED


def optimizer(config: Mapping[str, Any]) -> Optimizer:
    return read(Optimizer, config["optimizer"], "config.optimizer")


def train(config: Mapping[str, Any]) -> Train:
    return read(Train, config["train"], "config.train")


def mesh(config: Mapping[str, Any]) -> jax.sharding.Mesh:
    """The run's devices: all of them where a size is −1, otherwise the first data × draft × model."""
    sizes = dataclasses.astuple(read(Mesh, config["mesh"], "config.mesh"))
    devices = jax.devices()
    if min(sizes) > 0 and jax.process_count() == 1:
        devices = devices[: math.prod(sizes)]
    return make_mesh(*sizes, devices=devices)


def distill(config: Mapping[str, Any]) -> Distill:
    return read(Distill, config["distill"], "config.distill")


def denoising(config: Mapping[str, Any], network: DenoisingNetwork) -> Denoising:
    spec = read(Objective, config["objective"], "config.objective")
    classes = network.backbone.num_classes
    return Denoising(
        network=network,
        process=process(config),
        output=output(config),
        weighting=choose(WEIGHTINGS, spec.weighting, "config.objective.weighting"),
        times=choose(TIME_DISTRIBUTIONS, spec.times, "config.objective.times"),
        label_dropout=spec.label_dropout if classes else 0.0,
        null_label=classes,
    )


def student(
    config: Mapping[str, Any], teacher: DenoisingNetwork, drafts: int, form: str
) -> Student:
    """Draft and refine networks on the teacher's backbone; ``config`` is the teacher's."""
    return Student(
        drafter=DraftNetwork(teacher.backbone, drafts),
        refiner=RefineNetwork(teacher.backbone, drafts),
        process=process(config),
        output=output(config),
        form=form,
    )


def init_teacher(network: DenoisingNetwork, data: Source, key: PRNGKey) -> Params:
    x = jnp.zeros((1, *data.image_shape))
    return network.init(key, x, jnp.zeros(1), null_cond(data, 1))["params"]


def init_student(made: Student, data: Source, drafts: int, key: PRNGKey) -> Params:
    """Parameters before the teacher's are laid over them."""
    x, t, cond = jnp.zeros((1, *data.image_shape)), jnp.zeros(1), null_cond(data, 1)
    targets = jnp.zeros((drafts, 1))
    a, b = jax.random.split(key)
    return {
        "drafter": made.drafter.init(a, x, t, targets, cond)["params"],
        "refiner": made.refiner.init(b, jnp.zeros((drafts, *x.shape)), targets, cond)["params"],
    }


def null_cond(data: Source, batch: int) -> dict[str, jax.Array]:
    """The empty conditioning of classifier-free guidance."""
    return {"label": jnp.full(batch, data.num_classes, jnp.int32)} if data.num_classes else {}


@dataclasses.dataclass(frozen=True)
class Serial:
    """A serial sampler of the teacher."""

    steps: int
    step: str = "ddim"
    grid: str = "uniform"
    eta: float = 0.0
    guidance: float = 1.0


@dataclasses.dataclass(frozen=True)
class DRiffusion:
    """The training-free draft–refine sampler of the teacher."""

    steps: int
    drafts: int
    mode: str
    grid: str = "uniform"
    form: str = "noise"
    order: int = 1
    refinements: int = 1
    guidance: float = 1.0

    def __post_init__(self):
        choose(dict.fromkeys(FORMS), self.form, "form")
        at_least(1, self, "driffusion", "drafts", "order")
        if not 1 <= self.refinements <= self.drafts:
            raise UserError(f"refinements = {self.refinements}: choose 1 to drafts = {self.drafts}")


DRAFTERS = {"conservative": ConservativeDrafter, "aggressive": AggressiveDrafter}


def guided(denoiser: Denoiser, weight: float, data: Source) -> DenoiserLike:
    """The denoiser itself for weight 1, its classifier-free guidance otherwise."""
    if weight == 1:
        return denoiser
    if not data.num_classes:
        raise UserError(f"guidance = {weight}: the data {data.name} has no labels to guide by")
    null = {name: leaf[0] for name, leaf in null_cond(data, 1).items()}
    return Guided(denoiser, jnp.asarray(weight), null)


def serial_sampler(name: str, spec: Serial, denoiser: Denoiser, data: Source, loop: Loop) -> Method:
    step = choose(STEPS, spec.step, "step")
    step = step(spec.eta) if step is DDIM else step()
    made = make_grid(spec.grid, denoiser.process, spec.steps)
    model = guided(denoiser, spec.guidance, data)
    return serial_method(name, step, model, denoiser.process, made, loop)


def driffusion_sampler(
    name: str, spec: DRiffusion, denoiser: Denoiser, data: Source, loop: Loop
) -> Method:
    made = make_grid(spec.grid, denoiser.process, spec.steps)
    model = guided(denoiser, spec.guidance, data)
    drafter = choose(DRAFTERS, spec.mode, "mode")(model, spec.form, spec.order)
    return driffusion_method(
        name,
        drafter,
        ParallelRefiner(model),
        denoiser.process,
        made,
        spec.drafts,
        spec.form,
        loop,
        spec.mode,
        spec.refinements,
    )


SAMPLERS = {"serial": (Serial, serial_sampler), "driffusion": (DRiffusion, driffusion_sampler)}


def method(
    name: str, section: Any, denoiser: Denoiser, data: Source, loop: Loop, path: str
) -> Method:
    """A sampler of the teacher from a section such as ``{"name": "serial", "steps": 8}``.

    Raises:
      UserError: the section is wrong; the message starts with its ``path``.
    """
    kind, rest = split_name(section, path)
    spec, make = choose(SAMPLERS, kind, f"{path}.name")
    try:
        return make(name, read(spec, rest, path), denoiser, data, loop)
    except UserError as error:
        message = str(error)
        raise UserError(message if message.startswith(path) else f"{path}: {message}") from None


def sampler_spec(section: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A sampler's section with the defaults of all that it leaves out: equal samplers, equal specs."""
    kind, rest = split_name(section, path)
    spec, _ = choose(SAMPLERS, kind, f"{path}.name")
    return {"name": kind, **dataclasses.asdict(read(spec, rest, path))}


def learned_method(name: str, made: Student, params: Params, spec: Distill, loop: Loop) -> Method:
    """The student's own sampler, on its nodes of the teacher's grid."""
    grid = student_grid(made.process, spec)
    slots = made.slots(params)
    return driffusion_method(
        name, *slots, made.process, grid, spec.drafts, spec.form, loop, "learned"
    )


def student_grid(process: Process, spec: Distill) -> Grid:
    """The teacher's times at which a student drafts and refines."""
    return make_grid(spec.grid, process, spec.teacher_steps)[:: spec.stride]


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """What `drf evaluate` compares: ``methods`` of the teacher by row name, and the ``students``' runs."""

    samples: int
    batch_size: int = 256
    methods: dict = dataclasses.field(default_factory=dict)
    students: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("fd",)
    """Of `drf_jax.evaluation.score`."""
    feature_space: str = FEATURE_SPACE
    features: str = ""
    """File of the feature network; a classifier's is in the run's folder unless given."""
    feature_steps: int = 600
    """Updates of a classifier that has to be trained first."""
    statistics: str = ""
    """File of the real data's statistics (`drf stats`), used for fd instead of the data."""
    real: int = 0
    """At most this many real images, the first ones; 0: all."""
    seeds: int = 1
    """Sets of samples; with several, rows are means, with standard deviations."""
    repeats: int = 20

    def __post_init__(self):
        check_metrics(self.metrics)
        choose(EXTRACTORS, self.feature_space, "config.evaluate.feature_space")
        at_least(1, self, "config.evaluate", "samples", "batch_size", "seeds", "repeats")
        at_least(1, self, "config.evaluate", "feature_steps")
        at_least(0, self, "config.evaluate", "real")


def evaluate(config: Mapping[str, Any]) -> Evaluate:
    return read(Evaluate, config["evaluate"], "config.evaluate")


def methods(
    config: Mapping[str, Any], denoiser: Denoiser, data: Source, loop: Loop
) -> list[Method]:
    """The teacher's samplers that ``config.evaluate.methods`` describes, by the names of their rows.

    Raises:
      UserError: one of them is wrong, or its name begins with no known family.
    """
    made = []
    for name, section in evaluate(config).methods.items():
        path = f"config.evaluate.methods.{name}"
        if family(name) not in FAMILIES:
            raise UserError(f"{path}: the name must begin with one of {', '.join(FAMILIES)}")
        made.append(method(name, section, denoiser, data, loop, path))
    return made
