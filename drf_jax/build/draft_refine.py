"""The draft–refine student of a config, its grid and its sampler."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from drf_jax.build.processes import output, process
from drf_jax.config import at_least, read
from drf_jax.data.conditioning import null_cond
from drf_jax.data.source import Source
from drf_jax.errors import UserError
from drf_jax.networks.drafter import DraftNetwork
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.networks.refiner import RefineNetwork
from drf_jax.objectives.draft_refine import Student
from drf_jax.process.schedule import Process
from drf_jax.sampling.grid import Grid, make_grid
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method, driffusion_method
from drf_jax.sampling.transition import FORMS
from drf_jax.typing import Params, PRNGKey


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


def distill(config: Mapping[str, Any]) -> Distill:
    return read(Distill, config["distill"], "config.distill")


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


def init_student(made: Student, data: Source, drafts: int, key: PRNGKey) -> Params:
    """Parameters before the teacher's are laid over them."""
    x, t, cond = jnp.zeros((1, *data.image_shape)), jnp.zeros(1), null_cond(data, 1)
    targets = jnp.zeros((drafts, 1))
    a, b = jax.random.split(key)
    return {
        "drafter": made.drafter.init(a, x, t, targets, cond)["params"],
        "refiner": made.refiner.init(b, jnp.zeros((drafts, *x.shape)), targets, cond)["params"],
    }


def student_grid(process: Process, spec: Distill) -> Grid:
    """The teacher's times at which a student drafts and refines."""
    return make_grid(spec.grid, process, spec.teacher_steps)[:: spec.stride]


def learned_method(name: str, made: Student, params: Params, spec: Distill, loop: Loop) -> Method:
    """The student's own sampler, on its nodes of the teacher's grid."""
    grid = student_grid(made.process, spec)
    slots = made.slots(params)
    return driffusion_method(
        name, *slots, made.process, grid, spec.drafts, spec.form, loop, "learned"
    )
