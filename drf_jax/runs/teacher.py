"""Train a teacher: data → denoising objective → train state → checkpoints, with sample grids on the way."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from drf_jax import build
from drf_jax.address import here
from drf_jax.data.conditioning import condition_of
from drf_jax.data.held_out import hold_out
from drf_jax.data.image import to_uint8
from drf_jax.data.source import Source
from drf_jax.denoiser import Denoiser
from drf_jax.evaluation.figure import image_grid
from drf_jax.evaluation.generate import generate
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.objectives.denoising import Denoising
from drf_jax.runs.examples import example_batches
from drf_jax.runs.keys import HELD_OUT, INIT, SAMPLE, TRAIN, root_key
from drf_jax.sampling.method import Method
from drf_jax.training.checkpoint import Checkpoints, Which, load_ema
from drf_jax.training.held_out import HeldOut, held_out_loss
from drf_jax.training.loop import every, train
from drf_jax.training.metrics import MetricsLog
from drf_jax.training.optimizer import make_optimizer
from drf_jax.training.programs import Programs
from drf_jax.training.state import create_state, init_sharded
from drf_jax.training.step import jit_step, make_train_step
from drf_jax.typing import Params
from drf_jax.workdir import check_same, claim, read_config


def train_teacher(
    config: Mapping[str, Any], workdir: str | Path, programs: Programs | None = None
) -> None:
    """Train until ``config.train.steps``, going on with what is in ``workdir``.

    ``programs`` are of another run of this config in this process, but for its lengths.
    """
    build.check_task(config, "teacher", "config")
    spec, data = build.train(config), build.source(config)
    network = DenoisingNetwork(build.backbone(config, data))
    objective, optimizer_spec = build.denoising(config, network), build.optimizer(config)
    untrained = Denoiser({}, network, objective.process, objective.output)
    teacher_method(config, data, untrained)  # these fail here, not after the training
    build.methods(config, untrained, data, build.loop(config))
    optimizer = make_optimizer(optimizer_spec, spec.steps)
    seen, unseen = hold_out(data, spec.held_out)
    examples = example_batches(seen, spec.batch_size, config["seed"])
    mesh = build.mesh(config)
    held_out = held_out_of(spec, objective, unseen, mesh) if spec.evaluate_every else None
    workdir = claim(workdir, config)

    state, shardings = init_sharded(
        lambda key: create_state(build.init_teacher(network, data, key), optimizer),
        mesh,
        build.rules(config),
        root_key(config["seed"], INIT),
    )
    update = make_train_step(objective, optimizer, spec.ema, spec.accumulate)
    programs = programs or Programs()
    step = programs.get("teacher", lambda: jit_step(update, mesh, shardings))

    def draw(done, state):
        denoiser = Denoiser(state.ema, network, objective.process, objective.output)
        method = teacher_method(config, data, denoiser)
        grid_of_samples(method, config, data, workdir / "samples" / f"{done:07d}.png")

    with (
        Checkpoints(workdir / "checkpoints", spec.keep, spec.keep_best) as checkpoints,
        MetricsLog(workdir / "metrics.jsonl", spec.tensorboard) as metrics,
    ):
        train(
            lambda i: step,
            state,
            None,
            examples,
            steps=spec.steps,
            root_key=root_key(config["seed"], TRAIN),
            mesh=mesh,
            checkpoints=checkpoints,
            metrics=metrics,
            log_every=spec.log_every,
            checkpoint_every=spec.checkpoint_every,
            max_skipped=spec.max_skipped,
            profile=spec.profile,
            held_out=held_out,
            hooks=[every(spec.sample_every, draw)] if spec.sample_every else [],
            label="teacher",
            compiled=programs.compiled,
        )


def held_out_of(spec: build.Train, objective: Denoising, unseen: Source, mesh: Mesh) -> HeldOut:
    """The denoising loss on examples held out; noises and order are those of every run, whatever its seed."""
    loss = held_out_loss(
        build.measured(objective),
        example_batches(unseen, spec.batch_size, seed=0),
        len(unseen) // spec.batch_size,
        root_key(0, HELD_OUT),
        mesh,
    )
    return HeldOut(loss, spec.evaluate_every)


def teacher_method(config: Mapping[str, Any], data: Source, denoiser: Denoiser) -> Method:
    """The teacher's own sampler, ``config.sampler``."""
    return build.method(
        "teacher", config["sampler"], denoiser, data, build.loop(config), "config.sampler"
    )


def grid_of_samples(
    method: Method,
    config: Mapping[str, Any],
    data: Source,
    path: Path,
    count: int = 64,
    given: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> None:
    """Draw the first ``count`` samples of the run as a contact sheet.

    They are conditioned like the data's first examples, except for what is ``given``: one sample's part of the
    conditioning (a caption), the same for all.
    """

    def cond(index):
        every = {name: np.stack([value] * len(index)) for name, value in given.items()}
        return condition_of(data, index) | every

    samples = generate(
        method.sampler,
        root_key(config["seed"], SAMPLE),
        np.arange(count),
        data.image_shape,
        cond,
        batch_size=count,
    )
    image_grid(path, to_uint8(samples))


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A trained teacher as its run left it."""

    config: Mapping[str, Any]
    data: Source
    network: DenoisingNetwork
    denoiser: Denoiser
    """With the averaged parameters."""
    sha256: str
    """Of the averaged parameters."""


def load_teacher(
    workdir: str | Path, config: Mapping[str, Any] | None = None, which: Which = "latest"
) -> Teacher:
    """A checkpoint of a teacher's run; ``config``, where given, must be that of the run.

    Raises:
      UserError: no such run, an unreadable checkpoint, or another experiment.
    """
    workdir = here(workdir)
    if config is not None:
        check_same(workdir, config)
    config = read_config(workdir)
    build.check_task(config, "teacher", str(workdir))
    data = build.source(config)
    network = DenoisingNetwork(build.backbone(config, data))
    shapes = jax.eval_shape(lambda: build.init_teacher(network, data, jax.random.key(0)))
    params = load_ema(workdir / "checkpoints", shapes, which)
    denoiser = Denoiser(params, network, build.process(config), build.output(config))
    return Teacher(config, data, network, denoiser, parameter_hash(params))


def parameter_hash(params: Params) -> str:
    """SHA-256 over all leaves in tree order."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
