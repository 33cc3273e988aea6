"""The cached trajectories of a student, made before its training so that their seconds are known."""

import copy
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drf_jax.runs.distil import stages_of
from drf_jax.runs.teacher import load_teacher
from drf_jax.turns import turn


def cache_trajectories(config: Mapping[str, Any], workdir: Path) -> None:
    """Make what a training in ``workdir`` would make, or go on with it."""
    teacher = load_teacher(config["teacher"])
    _, (stage,) = stages_of(config, teacher)
    stage.training(teacher.denoiser.params, workdir)


def prepare(config: Mapping[str, Any], workdir: Path, trial: Path) -> float:
    """Seconds that it took to cache the trajectories in ``workdir``; 0 for a config without any.

    A batch of them is made in ``trial`` first, so that compilation is not counted where it is cached, and the rest in
    turn with other processes (`drf_jax.turns`).
    """
    if "trajectories" not in config.get("method", {}):
        return 0.0
    few = copy.deepcopy(config)
    few["method"]["trajectories"] = few["method"]["trajectory_batch"]
    cache_trajectories(few, trial)
    with turn():
        start = time.perf_counter()
        cache_trajectories(config, workdir)
        return time.perf_counter() - start
