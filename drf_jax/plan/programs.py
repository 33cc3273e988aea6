"""The programs of a run, lowered from shapes alone: no parameters are made and no data are read.

    teacher        train: one update of the denoising objective            sample: a sampler of the config
    draft_refine   train: one teacher-forced update, on_policy: the other  sample: the student's own sampler

They are built by the functions that the runs call. A sampler's batch is split over ``data`` and ``draft``; where the
mesh has a ``draft`` axis and the sampler evaluates drafts in parallel, the drafts are split over it instead.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from drf_jax import build
from drf_jax.data.conditioning import null_cond
from drf_jax.data.source import Source
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.objectives.draft_refine import OnPolicy, TeacherForced
from drf_jax.sampling.loops import COMPILED
from drf_jax.sampling.method import Method
from drf_jax.sampling.parallel import draft_parallel
from drf_jax.sharding import BATCH, infer_shardings
from drf_jax.training.optimizer import make_optimizer
from drf_jax.training.state import create_state
from drf_jax.training.step import jit_step, make_train_step
from drf_jax.typing import Objective, Params, PRNGKey

TASKS = ("teacher", "draft_refine")


@dataclasses.dataclass(frozen=True)
class Program:
    """``lower`` takes a global batch, a multiple of ``unit``; ``batch`` is the config's."""

    name: str
    lower: Callable[[int], jax.stages.Lowered]
    batch: int
    unit: int


def key_shape() -> jax.ShapeDtypeStruct:
    return jax.eval_shape(lambda: jax.random.key(0))


def programs(
    config: Mapping[str, Any], data: Source, mesh: Mesh, teacher: Mapping[str, Any], method: str
) -> dict[str, Callable[[], Program]]:
    """What the config's run compiles, by name; each is built when it is called.

    Args:
      config: of the run.
      data: its shapes.
      mesh: of described devices.
      teacher: the teacher's config; of a teacher its own.
      method: of ``config.evaluate.methods`` to sample with; empty: the run's own sampler.

    Raises:
      UserError: runs of this task cannot be planned.
    """
    task = build.task(config)
    if task not in TASKS:
        raise UserError(
            f"config.task = {task!r}: can be planned for {', '.join(TASKS)}; plan its teacher, the same network"
        )
    network = DenoisingNetwork(build.backbone(teacher, data))
    if task == "teacher" or method:
        sampler = lambda: teacher_sampler(config, teacher, data, network, mesh, method)
    else:
        sampler = lambda: student_sampler(config, teacher, data, network, mesh)
    if task == "teacher":
        return {"train": lambda: teacher_update(config, data, network, mesh), "sample": sampler}
    return {
        "train": lambda: student_update(config, teacher, data, network, mesh, on_policy=False),
        "on_policy": lambda: student_update(config, teacher, data, network, mesh, on_policy=True),
        "sample": sampler,
    }


def update(
    name: str,
    config: Mapping[str, Any],
    objective: Objective,
    init: Callable[[PRNGKey], Params],
    batch_of: Callable[[int], PyTree],
    size: int,
    mesh: Mesh,
) -> Program:
    """One update of the training loop; ``batch_of`` makes a batch's shapes."""
    spec = build.train(config)
    optimizer = make_optimizer(build.optimizer(config), spec.steps)
    state = jax.eval_shape(lambda key: create_state(init(key), optimizer), key_shape())
    shardings = infer_shardings(state, mesh, build.rules(config))
    step = make_train_step(objective, optimizer, spec.ema, spec.accumulate)
    step = jit_step(step, mesh, shardings)

    def lower(batch):
        with jax.set_mesh(mesh):
            return step.lower(state, None, batch_of(batch), key_shape())

    return Program(name, lower, size, math.prod(mesh.shape[a] for a in BATCH[0]) * spec.accumulate)


def teacher_update(
    config: Mapping[str, Any], data: Source, network: DenoisingNetwork, mesh: Mesh
) -> Program:
    """`drf_jax.runs.teacher`'s update."""

    def batch_of(b):
        x0 = jax.ShapeDtypeStruct((b, *data.image_shape), jnp.float32)
        return {"x0": x0, "cond": jax.eval_shape(lambda: null_cond(data, b))}

    objective = build.denoising(config, network)
    init = lambda key: build.init_teacher(network, data, key)
    size = build.train(config).batch_size
    return update("train", config, objective, init, batch_of, size, mesh)


def student_update(
    config: Mapping[str, Any],
    teacher: Mapping[str, Any],
    data: Source,
    network: DenoisingNetwork,
    mesh: Mesh,
    on_policy: bool,
) -> Program:
    """`drf_jax.runs.student`'s teacher-forced or on-policy update."""
    spec, distill = build.train(config), build.distill(config)
    student = build.student(teacher, network, distill.drafts, distill.form)
    grid = tuple(build.student_grid(student.process, distill).tolist())
    objective = (OnPolicy if on_policy else TeacherForced)(
        student, grid, distill.rounds, distill.draft_weight
    )

    def batch_of(b):
        states = jax.ShapeDtypeStruct((b, len(grid), *data.image_shape), jnp.float32)
        return {"states": states, "cond": jax.eval_shape(lambda: null_cond(data, b))}

    init = lambda key: build.init_student(student, data, distill.drafts, key)
    size = spec.batch_size
    if on_policy:
        size = distill.batch_size_on_policy or max(spec.batch_size // distill.rounds, 1)
    name = "on_policy" if on_policy else "train"
    return update(name, config, objective, init, batch_of, size, mesh)


def teacher_sampler(
    config: Mapping[str, Any],
    teacher: Mapping[str, Any],
    data: Source,
    network: DenoisingNetwork,
    mesh: Mesh,
    method: str,
) -> Program:
    """The teacher's sampler, or the one that ``config.evaluate.methods`` has under a name."""
    methods = build.evaluate(config).methods
    if method and method not in methods:
        raise UserError(f"--method {method}: choose one of {', '.join(methods) or 'none'}")
    section = methods[method] if method else teacher["sampler"]
    path = f"config.evaluate.methods.{method}" if method else "config.sampler"
    process, output = build.process(teacher), build.output(teacher)

    def make(params):
        denoiser = Denoiser(params, network, process, output)
        return build.method(method or "teacher", section, denoiser, data, COMPILED, path)

    init = lambda key: build.init_teacher(network, data, key)
    return sampling(config, make, init, data, build.process(teacher), mesh)


def student_sampler(
    config: Mapping[str, Any],
    teacher: Mapping[str, Any],
    data: Source,
    network: DenoisingNetwork,
    mesh: Mesh,
) -> Program:
    """The student's own sampler."""
    distill = build.distill(config)
    student = build.student(teacher, network, distill.drafts, distill.form)
    make = lambda params: build.learned_method("learned", student, params, distill, COMPILED)
    init = lambda key: build.init_student(student, data, distill.drafts, key)
    return sampling(config, make, init, data, student.process, mesh)


def sampling(
    config: Mapping[str, Any],
    make: Callable[[Params], Method],
    init: Callable[[PRNGKey], Params],
    data: Source,
    process: Any,
    mesh: Mesh,
) -> Program:
    """A whole sampler as one program; every chip has all parameters."""
    params = jax.eval_shape(init, key_shape())
    parallel = mesh.shape["draft"] > 1 and make(params).mode in build.DRAFTERS
    split, everywhere = (
        NamedSharding(mesh, P("data") if parallel else BATCH),
        NamedSharding(mesh, P()),
    )

    def run(params, noise, keys, cond):
        sampler = make(params).sampler
        if parallel:
            sampler = draft_parallel(sampler, process, mesh)
        return sampler(noise, keys, cond)

    def lower(b):
        noise = jax.ShapeDtypeStruct((b, *data.image_shape), jnp.float32)
        keys, cond = jax.eval_shape(
            lambda: (jax.random.split(jax.random.key(0), b), null_cond(data, b))
        )
        jitted = jax.jit(run, in_shardings=(everywhere, split, split, split), out_shardings=split)
        with jax.set_mesh(mesh):
            return jitted.lower(params, noise, keys, cond)

    unit = mesh.shape["data"] * (1 if parallel else mesh.shape["draft"])
    return Program("sample", lower, build.evaluate(config).batch_size, unit)
