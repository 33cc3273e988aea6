"""The programs of a run that distils a teacher.

    train       one update; of several stages (progressive distillation) the first stage's
    stage-8 …   one update of that stage
    on_policy   one update of the second phase, of a method that has two (draft_refine, step)
    sample      a row of the student's table: the first one unless another is named

The stages are those of `drf_jax.runs.distillation`. What they read before their first update (images, trajectories, a
classifier's parameters) is known here by its shapes.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import PyTree

from drf_jax import build
from drf_jax.data.conditioning import null_cond
from drf_jax.data.source import Source
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.evaluation.features import Classifier
from drf_jax.networks.classifier import ClassifierNetwork
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.objectives.guidance import KEY
from drf_jax.plan.program import Program, sampling, update
from drf_jax.runs.distil import stage_shapes
from drf_jax.runs.distillation import Setting, Stage, make_stages
from drf_jax.runs.distillation.rows import rows
from drf_jax.runs.teacher import Teacher
from drf_jax.runs.trajectories import Walk
from drf_jax.sampling.loops import COMPILED
from drf_jax.training.ema_target import with_ema_target
from drf_jax.typing import Params


@dataclasses.dataclass(frozen=True)
class PlannedSetting(Setting):
    """A setting that knows shapes where a run's has, or makes, the numbers."""

    def start(self, folder: str) -> Params:
        return self.teacher.denoiser.params

    def refiner(self, folder: str) -> Denoiser:
        return self.teacher.denoiser

    def examples(self) -> Callable[[int], dict[str, Any]]:
        batch = examples(self.teacher.data, self.train.batch_size)
        return lambda update: batch

    def trajectories(
        self, walk: Walk, spec: build.Step | build.DraftRefine, path: Path
    ) -> Callable[[int, int], Callable[[int], dict[str, Any]]]:
        def batches(size: int, seed: int) -> Callable[[int], dict[str, Any]]:
            batch = trajectories(self.teacher.data, walk, size)
            return lambda update: batch

        return batches

    def classifier(self, spec: build.WithFeatures, path: Path) -> Classifier:
        data = self.teacher.data
        x, network = jnp.zeros((1, *data.image_shape)), ClassifierNetwork(data.num_classes)
        params = jax.eval_shape(network.init, jax.random.key(0), x)["params"]
        return Classifier(
            params=params,
            image_shape=data.image_shape,
            num_classes=data.num_classes,
            provenance={},
        )

    def parameters(self, make: Callable[[Params], Params], source: Params) -> Params:
        return jax.eval_shape(make, source)


def examples(data: Source, size: int) -> dict[str, Any]:
    """Shapes of a batch of the data."""
    x0 = jax.ShapeDtypeStruct((size, *data.image_shape), jnp.float32)
    return {"x0": x0, "cond": jax.eval_shape(lambda: null_cond(data, size))}


def trajectories(data: Source, walk: Walk, size: int) -> dict[str, Any]:
    """Shapes of a batch of cached walks."""
    shape = (size, walk.intervals + 1, *data.image_shape)
    cond = jax.eval_shape(lambda: null_cond(data, size))
    if walk.guidance != build.UNGUIDED:
        cond |= {KEY: jax.ShapeDtypeStruct((size,), jnp.float32)}
    return {"states": jax.ShapeDtypeStruct(shape, jnp.float32), "cond": cond}


def of_size(batch: PyTree, size: int) -> PyTree:
    """The shapes of a batch with another number of examples."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype), batch
    )


def zeros(shapes: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def distillation_programs(
    config: Mapping[str, Any],
    data: Source,
    mesh: Mesh,
    teacher: Mapping[str, Any],
    network: DenoisingNetwork,
    method: str,
) -> dict[str, Callable[[], Program]]:
    """Its programs, by name; the arguments are those of `drf_jax.plan.programs.programs`.

    Raises:
      UserError: the method's options do not fit the teacher or one another.
    """

    def stages_of(params: Params) -> tuple[PlannedSetting, tuple[Stage, ...]]:
        denoiser = Denoiser(params, network, build.process(teacher), build.output(teacher))
        setting = PlannedSetting(
            teacher=Teacher(teacher, data, network, denoiser, sha256=""),
            train=build.train(config),
            optimizer_spec=build.optimizer(config),
            seed=config["seed"],
            loop=COMPILED,
        )
        return setting, make_stages(build.distillation_spec(config), setting)

    source = jax.eval_shape(lambda: build.init_teacher(network, data, jax.random.key(0)))
    _, stages = stages_of(source)
    trained = stage_shapes(stages, source)

    def train(number: int, phase: int) -> Program:
        taught_by = [source, *trained][number]
        stage, training = stages[number], stages[number].training(taught_by, Path())
        batch = training.phases[phase].batches(0)
        return update(
            stage.name or ("train", "on_policy")[phase],
            config,
            training.phases[phase].objective,
            lambda key: zeros(trained[number]),
            training.optimizer,
            lambda size: of_size(batch, size),
            len(jax.tree.leaves(batch)[0]),
            mesh,
            training.frozen,
            with_ema_target,
        )

    def sample() -> Program:
        def row(params):
            setting, stages = stages_of(params["teacher"])
            spec = build.evaluate(config)
            made = {m.name: m for m, _ in rows(spec, setting, stages, params["stages"])}
            if method and method not in made:
                known = ", ".join([*spec.methods, *made])
                raise UserError(f"--method {method}: choose one of {known}")
            return made[method] if method else next(iter(made.values()))

        params = {"teacher": source, "stages": trained}
        return sampling(
            config,
            row,
            lambda key: zeros(params),
            data,
            build.process(teacher),
            mesh,
        )

    made = {"train": lambda: train(0, 0), "sample": sample}
    for number, stage in enumerate(stages):
        if stage.name:
            made[stage.name] = lambda number=number: train(number, 0)
    if isinstance(build.distillation_spec(config), build.Step | build.DraftRefine):
        made["on_policy"] = lambda: train(0, 1)
    return made
