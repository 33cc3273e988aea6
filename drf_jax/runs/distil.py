"""Distil a teacher into a network of few steps, by one of the methods of `drf_jax.build.distillation`.

    teacher → stage → … → stage → rows

    <run>/checkpoints, metrics.jsonl, samples/      of a method with one stage
    <run>/stage-8/checkpoints, …                    of each stage of one with several (progressive distillation)
    <run>/teacher.json                              the hash of the teacher's parameters, which are in no checkpoint
    <run>/source.json                               the same of the run that the student started from, if it did

Every stage resumes by itself, so a killed run goes on in the stage that it was in.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from drf_jax import build
from drf_jax.address import here
from drf_jax.atomic import replacing
from drf_jax.config import naming, plain
from drf_jax.errors import UserError
from drf_jax.runs.distillation import Setting, Stage, make_stages
from drf_jax.runs.distillation.features import judge_of
from drf_jax.runs.distillation.players import student_of
from drf_jax.runs.distillation.rows import HYBRID, hybrid_identity, refiner_of, rows
from drf_jax.runs.distillation.stage import Phase
from drf_jax.runs.keys import INIT, TRAIN, root_key
from drf_jax.runs.source import NETWORKS, REFINERS, Source, check_source, note_source, noted_source
from drf_jax.runs.teacher import Teacher, grid_of_samples, load_teacher, parameter_hash
from drf_jax.runs.trained import Trained, train_seconds
from drf_jax.sharding import shard_tree
from drf_jax.training.checkpoint import Checkpoints, load_ema
from drf_jax.training.ema_target import with_ema_target
from drf_jax.training.loop import every, train
from drf_jax.training.metrics import MetricsLog
from drf_jax.training.programs import Programs
from drf_jax.training.state import create_state, init_sharded, jit_sharded
from drf_jax.training.step import TrainStep, jit_step, make_train_step
from drf_jax.typing import Params
from drf_jax.workdir import check_same, claim, read_config

TEACHER = "teacher.json"


def train_distilled(
    config: Mapping[str, Any], workdir: str | Path, programs: Programs | None = None
) -> None:
    """Train every stage until ``config.train.steps``, going on with what is in ``workdir``.

    ``programs`` are of another run of this config in this process, but for its lengths.
    """
    programs = programs or Programs()
    build.check_task(config, "distill", "config")
    teacher = load_teacher(config["teacher"])
    mesh = build.mesh(config)
    setting, stages = stages_of(config, teacher, mesh.shape["data"] * mesh.shape["draft"])
    setting.check_batch("config.train.batch_size", setting.train.batch_size)
    # What is wrong in the evaluation fails here, not after the training.
    build.methods(config, teacher.denoiser, teacher.data, setting.loop)
    source = build.distillation_spec(config).source
    params = setting.start(source)
    with naming(f"config.method.source = {source!r}"):
        shapes = stage_shapes(stages, params)
    check_rows(build.evaluate(config), setting, stages, shapes)
    workdir = claim(workdir, config)
    check_teacher(workdir, teacher)
    if jax.process_index() == 0:
        with replacing(workdir / TEACHER) as file:
            file.write(json.dumps({"sha256": teacher.sha256}).encode())
        if source:
            note_source(workdir, setting.load(source))

    for i, stage in enumerate(stages):
        params = train_stage(config, setting, stage, i, params, workdir, mesh, programs)


def train_stage(
    config: Mapping[str, Any],
    setting: Setting,
    stage: Stage,
    number: int,
    source: Params,
    workdir: Path,
    mesh: jax.sharding.Mesh,
    programs: Programs,
) -> Params:
    """Train one stage; its averaged parameters."""
    spec, folder, seed = setting.train, workdir / stage.name, setting.seed
    source = shard_tree(source, mesh, build.rules(config))
    training = stage.training(source, workdir)
    rules, start = build.rules(config), (source, jax.random.fold_in(root_key(seed, INIT), number))
    # The optimizer's state has the lengths of the run; what the networks start as takes longer to compile and does not.
    init = programs.get((INIT, number), lambda: jit_sharded(stage.init, mesh, rules, *start)[0])
    state, shardings = init_sharded(
        lambda params: create_state(params, training.optimizer), mesh, rules, init(*start)
    )

    def compiled(phase: Phase) -> TrainStep:
        step = make_train_step(phase.objective, training.optimizer, spec.ema, spec.accumulate)
        return jit_step(with_ema_target(step), mesh, shardings)

    # The first stage's teacher may be guided; the others' is the stage before. What else differs is data.
    key = lambda phase: (number == 0, phase)
    steps = [
        programs.get(key(k), lambda phase=phase: compiled(phase))
        for k, phase in enumerate(training.phases)
    ]
    phase_at = lambda i: max(k for k, phase in enumerate(training.phases) if phase.first <= i)

    def draw(done, state):
        method = stage.method(state.ema, stage.calls[0], build.evaluate(config).guidance)
        path = folder / "samples" / f"{done:07d}.png"
        grid_of_samples(method, setting.teacher.config, setting.teacher.data, path)

    with (
        Checkpoints(folder / "checkpoints", spec.keep) as checkpoints,
        MetricsLog(folder / "metrics.jsonl", spec.tensorboard) as metrics,
    ):
        state = train(
            lambda i: steps[phase_at(i)],
            state,
            shard_tree(training.frozen, mesh, build.rules(config)),
            lambda i: training.phases[phase_at(i)].batches(i),
            steps=spec.steps,
            root_key=jax.random.fold_in(root_key(seed, TRAIN), number),
            mesh=mesh,
            checkpoints=checkpoints,
            metrics=metrics,
            log_every=spec.log_every,
            checkpoint_every=spec.checkpoint_every,
            max_skipped=spec.max_skipped,
            profile=spec.profile,
            hooks=[every(spec.sample_every, draw)] if spec.sample_every else [],
            label=" ".join(filter(None, (config["method"]["name"], stage.name))),
            compiled=programs.compiled,
        )
    if jax.process_index() == 0:
        training.finish(state.ema)
    return state.ema


def stages_of(
    config: Mapping[str, Any], teacher: Teacher, devices: int = 1, workdir: Path | None = None
) -> tuple[Setting, tuple[Stage, ...]]:
    """The stages of a config's method, and what they are made from.

    Args:
      devices: that split a batch.
      workdir: of the run, where it has started: what it started from must not have changed.
    """
    train = build.train(config)

    def load(folder: str) -> Source:
        source = load_source(folder, teacher)
        if workdir is not None:
            check_source(workdir, source)
        return source

    setting = Setting(
        teacher=teacher,
        train=train,
        optimizer_spec=build.optimizer(config),
        seed=config["seed"],
        loop=build.loop(teacher.config),
        parts=devices * train.accumulate,
        load=functools.cache(load),
        load_refiner=lambda folder: load_refiner(folder, teacher),
    )
    setting.optimizer()  # its errors are of the config
    return setting, make_stages(build.distillation_spec(config), setting)


def check_rows(
    spec: build.EvaluateDistilled,
    setting: Setting,
    stages: Sequence[Stage],
    shapes: Sequence[Params],
) -> None:
    """Raise what `rows` would, before there are parameters."""
    setting, _ = with_refiner(spec, setting)
    jax.eval_shape(lambda params: rows(spec, setting, stages, params) and (), shapes)


def with_refiner(spec: build.EvaluateDistilled, setting: Setting) -> tuple[Setting, Source | None]:
    """A setting that has read what refines in the teacher's place, as nothing can be read while shapes are found."""
    refiner = refiner_of(spec, setting)
    return dataclasses.replace(setting, load_refiner=lambda folder: refiner), refiner


def stage_shapes(stages: Sequence[Stage], source: Params) -> list[Params]:
    """Shapes of what each stage trains, the first one from a source."""
    shapes = []
    for stage in stages:
        source = jax.eval_shape(stage.init, source, jax.random.key(0))
        shapes.append(source)
    return shapes


def check_teacher(workdir: Path, teacher: Teacher) -> None:
    """Raise if the run in ``workdir`` was distilled from other parameters than this teacher's."""
    path = workdir / TEACHER
    made_by = json.loads(path.read_text())["sha256"] if path.exists() else teacher.sha256
    if made_by != teacher.sha256:
        raise UserError(
            f"{workdir} was distilled from another teacher: its parameters had SHA-256 {made_by[:12]}…"
            f" and those given now have {teacher.sha256[:12]}…; use that teacher or another --workdir"
        )


def load_stages(
    config: Mapping[str, Any], workdir: Path, teacher: Teacher
) -> tuple[Setting, tuple[Stage, ...], list[Params]]:
    """The stages of a finished run with their averaged parameters; errors as of `load_distilled`."""
    build.check_task(config, "distill", str(workdir))
    check_teacher(workdir, teacher)
    setting, stages = stages_of(config, teacher, workdir=workdir)
    shapes = stage_shapes(stages, teacher.denoiser.params)
    params = [
        load_ema(workdir / stage.name / "checkpoints", shape)
        for stage, shape in zip(stages, shapes, strict=True)
    ]
    return setting, stages, params


def load_source(folder: str, teacher: Teacher) -> Source:
    """The network of a distilled run, for a student of the same teacher to start from.

    Raises:
      UserError: no such run, an unreadable checkpoint, one distilled from another teacher, or it has no such network.
    """
    with naming(f"config.method.source = {folder!r}"):
        return read_source(folder, teacher, NETWORKS, "a run of {} has no denoising network")


def load_refiner(folder: str, teacher: Teacher) -> Source:
    """The network of a distilled run that may refine in the teacher's place; errors as of `load_source`."""
    with naming(f"{HYBRID}.refiner = {folder!r}"):
        return read_source(
            folder, teacher, REFINERS, "the network of a run of {} is not the teacher's"
        )


def read_source(folder: str, teacher: Teacher, methods: Sequence[str], wrong: str) -> Source:
    """The averaged parameters of the last stage of a run of these methods; ``wrong`` says what others lack."""
    workdir, config = here(folder), read_config(folder)
    build.check_task(config, "distill", folder)
    if (name := config["method"]["name"]) not in methods:
        raise UserError(f"{wrong.format(name)}; choose a run of {', '.join(methods)}")
    _, stages, (*_, params) = load_stages(config, workdir, teacher)
    params = student_of(params)
    return Source(params, parameter_hash(params), seconds_behind(config, workdir, stages)[-1])


def seconds_behind(
    config: Mapping[str, Any], workdir: Path, stages: Sequence[Stage]
) -> list[float | None]:
    """Seconds of training that each stage's network has behind it, on top of the teacher's; None: not recorded."""
    behind, found = 0.0, []
    if build.distillation_spec(config).source:
        behind = noted_source(workdir)["train_seconds"]
    for stage in stages:
        own = train_seconds(workdir / stage.name)
        behind = None if None in (behind, own) else behind + own
        found.append(behind)
    return found


def load_distilled(
    workdir: str | Path, teacher: Teacher, config: Mapping[str, Any] | None = None
) -> list[Trained]:
    """The newest checkpoints of a run, as the methods that ``config.evaluate`` chooses.

    Args:
      workdir: of the run.
      teacher: that it was distilled from.
      config: of the run, where it may choose other rows than the run was started with.

    Raises:
      UserError: no such run, an unreadable checkpoint, or one distilled from another teacher.
    """
    workdir = here(workdir)
    if config is not None:
        check_same(workdir, config)
    config = config or read_config(workdir)
    setting, stages, params = load_stages(config, workdir, teacher)
    hashes, spec = [parameter_hash(p) for p in params], build.evaluate(config)
    seconds = seconds_behind(config, workdir, stages)
    source = build.distillation_spec(config).source
    started = (noted_source(workdir)["sha256"],) if source else ()
    setting, refiner = with_refiner(spec, setting)
    return [
        Trained(
            method,
            (
                hashes[i],
                plain(config["method"]),
                spec.guidance,
                hybrid_identity(spec, refiner) if method.mode == "hybrid" else None,
                *started,
            ),
            together(seconds[i], refiner) if method.mode == "hybrid" else seconds[i],
            judge_of(workdir),
        )
        for method, i in rows(spec, setting, stages, params)
    ]


def together(seconds: float | None, refiner: Source | None) -> float | None:
    """Seconds of training behind a drafter and what refines its drafts; None if either was not recorded."""
    if refiner is None or seconds is None:
        return seconds
    return None if refiner.train_seconds is None else seconds + refiner.train_seconds
