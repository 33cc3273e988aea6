"""The programs of a run, by name.

    teacher   train: one update of the denoising objective, sample: a sampler of the config
    distill   see `drf_jax.plan.distillation`

Each is built when it is called.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from drf_jax import build
from drf_jax.data.conditioning import null_cond
from drf_jax.data.source import Source
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.plan.distillation import distillation_programs
from drf_jax.plan.program import Program, sampling, update
from drf_jax.sampling.loops import COMPILED
from drf_jax.training.optimizer import make_optimizer


def programs(
    config: Mapping[str, Any], data: Source, mesh: Mesh, teacher: Mapping[str, Any], method: str
) -> dict[str, Callable[[], Program]]:
    """What the config's run compiles, by name; each is built when it is called.

    Args:
      config: of the run.
      data: its shapes.
      mesh: of described devices.
      teacher: the teacher's config; of a teacher its own.
      method: of ``config.evaluate.methods``, or of a distilled student's rows, to sample with; empty: the run's own
        sampler, or the student's first row.
    """
    network = DenoisingNetwork(build.backbone(teacher, data))
    sampler = lambda: teacher_sampler(config, teacher, data, network, mesh, method)
    if build.task(config) == "teacher":
        return {"train": lambda: teacher_update(config, data, network, mesh), "sample": sampler}
    made = distillation_programs(config, data, mesh, teacher, network, method)
    return made | ({"sample": sampler} if method in build.evaluate(config).methods else {})


def optimizer(config: Mapping[str, Any]) -> optax.GradientTransformation:
    return make_optimizer(build.optimizer(config), build.train(config).steps)


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
    return update("train", config, objective, init, optimizer(config), batch_of, size, mesh)


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
