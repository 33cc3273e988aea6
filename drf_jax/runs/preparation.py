"""The cached trajectories of a student, made before its training so that their seconds are known."""

import copy
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drf_jax import build
from drf_jax.runs.distil import stages_of
from drf_jax.runs.student import walk_of
from drf_jax.runs.teacher import load_teacher
from drf_jax.runs.trajectories import TRAJECTORIES, teacher_trajectories


def section_of(config: Mapping[str, Any]) -> str:
    """The section that says how many trajectories a config's training caches; "" if it does none."""
    sections = ("distill", "method")
    return next((s for s in sections if "trajectories" in config.get(s, {})), "")


def cache_trajectories(config: Mapping[str, Any], workdir: Path) -> None:
    """Make what a training in ``workdir`` would make, or go on with it."""
    teacher = load_teacher(config["teacher"])
    if build.task(config) == "distill":
        _, (stage,) = stages_of(config, teacher)
        stage.training(teacher.denoiser.params, workdir)
        return
    spec = build.distill(config)
    teacher_trajectories(
        teacher,
        walk_of(spec),
        workdir / TRAJECTORIES,
        config["seed"],
        spec.trajectories,
        spec.trajectory_batch,
        spec.trajectory_dtype,
    )


def prepare(config: Mapping[str, Any], workdir: Path, trial: Path) -> float:
    """Seconds that it took to cache the trajectories in ``workdir``; 0 for a config without any.

    A batch of them is made in ``trial`` first, so that compilation is not counted where it is cached.
    """
    section = section_of(config)
    if not section:
        return 0.0
    few = copy.deepcopy(config)
    few[section]["trajectories"] = few[section]["trajectory_batch"]
    cache_trajectories(few, trial)
    start = time.perf_counter()
    cache_trajectories(config, workdir)
    return time.perf_counter() - start
