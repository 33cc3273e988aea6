"""From a config to typed objects: the one place with tables of names.

Nothing below this module sees a ConfigDict. A config describes one run: ``task`` is ``teacher`` (denoising) or
``draft_refine`` (distillation of the two networks from a teacher's run).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from drf_jax.config import choose, read, split_name
from drf_jax.data.source import Source, load_source
from drf_jax.denoiser import Denoiser, DenoiserLike
from drf_jax.errors import UserError
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
TASKS = ("teacher", "draft_refine")


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
        nodes = self.rounds * (self.drafts + 1)
        if min(self.rounds, self.drafts) < 1 or self.teacher_steps % nodes:
            raise UserError(
                f"config.distill: rounds × (drafts + 1) = {nodes} must divide teacher_steps = {self.teacher_steps}"
            )
        if self.form not in FORMS:
            raise UserError(f"config.distill.form = {self.form!r}: choose one of {', '.join(FORMS)}")
        if self.trajectory_dtype not in ("float32", "float16"):
            raise UserError(
                f"config.distill.trajectory_dtype = {self.trajectory_dtype!r}: choose float32 or float16"
            )


def task(config: Mapping[str, Any]) -> str:
    name = config.get("task")
    if name not in TASKS:
        raise UserError(f"config.task = {name!r}: choose one of {', '.join(TASKS)}")
    return name


def process(config: Mapping[str, Any]) -> Process:
    name, rest = split_name(config["process"], "config.process")
    return read(choose(PROCESSES, name, "config.process.name"), rest, "config.process")


def source(config: Mapping[str, Any]) -> Source:
    name, rest = split_name(config["data"], "config.data")
    try:
        return load_source(name, **rest)
    except TypeError as error:
        raise UserError(f"config.data: {error}") from None


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


def mesh(config: Mapping[str, Any]) -> Mesh:
    return read(Mesh, config["mesh"], "config.mesh")


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


def student(config: Mapping[str, Any], teacher: DenoisingNetwork, drafts: int, form: str) -> Student:
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
    name: str, section: Mapping[str, Any], denoiser: Denoiser, data: Source, loop: Loop, path: str
) -> Method:
    """A sampler of the teacher from a section such as ``{"name": "serial", "steps": 8}``."""
    kind, rest = split_name(section, path)
    spec, make = choose(SAMPLERS, kind, f"{path}.name")
    return make(name, read(spec, rest, path), denoiser, data, loop)


def learned_method(
    name: str, made: Student, params: Params, spec: Distill, loop: Loop
) -> Method:
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
    features: str = ""
    """File of the feature network; in the run's folder unless given."""
    repeats: int = 20


def evaluate(config: Mapping[str, Any]) -> Evaluate:
    section = dict(config["evaluate"])
    if "methods" in section:
        section["methods"] = {name: dict(spec) for name, spec in section["methods"].items()}
    return read(Evaluate, section, "config.evaluate")
