"""Distil the draft and refine networks: teacher → trajectories → draft–refine objectives → checkpoints.

The first ``on_policy_after`` updates are teacher-forced, the rest on-policy. The teacher is referenced by its run's
folder and the hash of its parameters; its parameters are in no student checkpoint.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from drf_jax import build
from drf_jax.data.source import Source
from drf_jax.data.trajectories import made_with, trajectory_batches
from drf_jax.errors import UserError
from drf_jax.networks.transfer import drafter_from_teacher, refiner_from_teacher
from drf_jax.objectives.draft_refine import OnPolicy, Student, TeacherForced
from drf_jax.runs.keys import INIT, TRAIN, root_key
from drf_jax.runs.teacher import Teacher, grid_of_samples, load_teacher, parameter_hash
from drf_jax.runs.trained import Trained, train_seconds
from drf_jax.runs.trajectories import TRAJECTORIES, Walk, teacher_trajectories
from drf_jax.sampling.method import Method
from drf_jax.sharding import shard_tree
from drf_jax.training.checkpoint import Checkpoints, load_ema
from drf_jax.training.loop import every, train
from drf_jax.training.metrics import MetricsLog
from drf_jax.training.optimizer import make_optimizer
from drf_jax.training.state import create_state, init_sharded
from drf_jax.training.step import jit_step, make_train_step
from drf_jax.typing import Params, PRNGKey
from drf_jax.workdir import check_same, claim, read_config


def train_student(config: Mapping[str, Any], workdir: str | Path) -> None:
    """Train until ``config.train.steps``, going on with what is in ``workdir``."""
    build.check_task(config, "draft_refine", "config")
    spec, distill, optimizer_spec = (
        build.train(config),
        build.distill(config),
        build.optimizer(config),
    )
    optimizer = make_optimizer(optimizer_spec, spec.steps)
    mesh = build.mesh(config)
    teacher = load_teacher(config["teacher"])
    student = build.student(teacher.config, teacher.network, distill.drafts, distill.form)
    loop = build.loop(teacher.config)
    grid = tuple(build.student_grid(student.process, distill).tolist())
    # What is wrong in the evaluation fails here, not after the training.
    build.methods(config, teacher.denoiser, teacher.data, loop)
    on_policy_size = distill.batch_size_on_policy or max(spec.batch_size // distill.rounds, 1)
    parts = spec.accumulate * mesh.shape["data"] * mesh.shape["draft"]
    if distill.on_policy_after < spec.steps and on_policy_size % parts:
        raise UserError(
            f"config.distill.batch_size_on_policy = {on_policy_size}: must be a multiple of {parts}"
            f" (devices and config.train.accumulate = {spec.accumulate})"
        )
    workdir = claim(workdir, config)
    check_teacher(workdir, teacher)

    trajectories = teacher_trajectories(
        teacher,
        walk_of(distill),
        workdir / TRAJECTORIES,
        config["seed"],
        distill.trajectories,
        distill.trajectory_batch,
        distill.trajectory_dtype,
    )

    def init(key, source):
        return create_state(
            init_params(student, teacher.data, source, distill.drafts, key), optimizer
        )

    state, shardings = init_sharded(
        init,
        mesh,
        build.rules(config),
        root_key(config["seed"], INIT),
        shard_tree(teacher.denoiser.params, mesh, build.rules(config)),
    )

    shared = (student, grid, distill.rounds, distill.draft_weight)
    objectives = (TeacherForced(*shared), OnPolicy(*shared, scan=loop.scan))
    forced, on_policy = (
        jit_step(make_train_step(f, optimizer, spec.ema, spec.accumulate), mesh, shardings)
        for f in objectives
    )
    seed = config["seed"]
    forced_batches = trajectory_batches(trajectories, spec.batch_size, seed)
    on_policy_batches = trajectory_batches(trajectories, on_policy_size, seed + 1)
    switch = distill.on_policy_after

    def draw(done, state):
        method = learned(student, state.ema, distill, teacher)
        grid_of_samples(
            method, teacher.config, teacher.data, workdir / "samples" / f"{done:07d}.png"
        )

    with (
        Checkpoints(workdir / "checkpoints", spec.keep) as checkpoints,
        MetricsLog(workdir / "metrics.jsonl", spec.tensorboard) as metrics,
    ):
        train(
            lambda i: forced if i < switch else on_policy,
            state,
            None,
            lambda i: forced_batches(i) if i < switch else on_policy_batches(i),
            steps=spec.steps,
            root_key=root_key(seed, TRAIN),
            mesh=mesh,
            checkpoints=checkpoints,
            metrics=metrics,
            log_every=spec.log_every,
            checkpoint_every=spec.checkpoint_every,
            max_skipped=spec.max_skipped,
            profile=spec.profile,
            hooks=[every(spec.sample_every, draw)] if spec.sample_every else [],
            label=f"student, {2 * distill.rounds} calls",
        )


def init_params(
    student: Student, data: Source, teacher: Params, drafts: int, key: PRNGKey
) -> Params:
    """The student's parameters before training: the teacher's, so that it is the training-free sampler."""
    params = build.init_student(student, data, drafts, key)
    return {
        "drafter": drafter_from_teacher(params["drafter"], teacher, drafts),
        "refiner": refiner_from_teacher(params["refiner"], teacher),
    }


def walk_of(distill: build.Distill) -> Walk:
    """The teacher's grid, of which the student's nodes are kept."""
    return Walk(distill.grid, distill.teacher_steps, distill.stride)


def learned(student: Student, params: Params, distill: build.Distill, teacher: Teacher) -> Method:
    """The student's sampler under its row's name, ``learned-<sequential calls>``."""
    name = f"learned-{2 * distill.rounds}"
    return build.learned_method(name, student, params, distill, build.loop(teacher.config))


def check_teacher(workdir: Path, teacher: Teacher) -> None:
    """Raise if the student in ``workdir`` was distilled from other parameters than this teacher's."""
    made_by = made_with(workdir / TRAJECTORIES).get("teacher", teacher.sha256)
    if made_by != teacher.sha256:
        raise UserError(
            f"{workdir} was distilled from another teacher: its parameters had SHA-256 {made_by[:12]}…"
            f" and those given now have {teacher.sha256[:12]}…; use that teacher or another --workdir"
        )


def load_student(
    workdir: str | Path, teacher: Teacher, config: Mapping[str, Any] | None = None
) -> Trained:
    """The newest checkpoint of a student's run, as a method with its averaged parameters.

    Raises:
      UserError: no such run, an unreadable checkpoint, or one distilled from another teacher.
    """
    workdir = Path(workdir)
    if config is not None:
        check_same(workdir, config)
    config = read_config(workdir)
    build.check_task(config, "draft_refine", str(workdir))
    check_teacher(workdir, teacher)
    distill = build.distill(config)
    student = build.student(teacher.config, teacher.network, distill.drafts, distill.form)
    shapes = jax.eval_shape(
        lambda: build.init_student(student, teacher.data, distill.drafts, jax.random.key(0))
    )
    params = load_ema(workdir / "checkpoints", shapes)
    return Trained(
        learned(student, params, distill, teacher),
        (parameter_hash(params),),
        train_seconds(workdir),
    )
