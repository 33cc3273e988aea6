"""The cached trajectories of a student, made before its training so that their seconds are known.

Students of one teacher that need the same trajectories can share them through a folder, the pool. They are the same
bits as if each had made its own, and each is told the seconds that they took when they were made.
"""

import copy
import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drf_jax.atomic import replacing
from drf_jax.errors import UserError
from drf_jax.runs.distil import stages_of
from drf_jax.runs.teacher import load_teacher
from drf_jax.runs.trajectories import TRAJECTORIES
from drf_jax.turns import turn


def cache_trajectories(config: Mapping[str, Any], workdir: Path) -> None:
    """Make what a training in ``workdir`` would make, or go on with it."""
    teacher = load_teacher(config["teacher"])
    _, (stage,) = stages_of(config, teacher)
    stage.training(teacher.denoiser.params, workdir)


def files(folder: Path) -> list[Path]:
    """The cache of a folder: states, and what they are."""
    return [folder / TRAJECTORIES, (folder / TRAJECTORIES).with_suffix(".json")]


def link(source: Path, folder: Path) -> None:
    """The cache of ``source`` in ``folder`` too, without a copy."""
    folder.mkdir(parents=True, exist_ok=True)
    for old, new in zip(files(source), files(folder), strict=True):
        os.link(old, new)


def taken(config: Mapping[str, Any], workdir: Path, pool: Path) -> float | None:
    """Put what ``config`` needs from the pool into ``workdir``; the seconds that it took, None if it isn't there."""
    if any(file.exists() for file in files(workdir)):
        return None  # to be finished
    for seconds in sorted(pool.glob("*/seconds.json")):
        link(seconds.parent, workdir)
        try:
            cache_trajectories(config, workdir)
        except UserError:  # they are of something else
            for file in files(workdir):
                file.unlink()
        else:
            return json.loads(seconds.read_text())
    return None


def given(workdir: Path, pool: Path, seconds: float) -> None:
    """Put the cache of ``workdir`` into the pool."""
    pool.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=pool))
    link(workdir, made)
    with replacing(made / "seconds.json") as file:
        file.write(json.dumps(seconds).encode())


def prepare(
    config: Mapping[str, Any], workdir: Path, trial: Path, pool: Path | None = None
) -> float:
    """Seconds that it took to cache the trajectories in ``workdir``; 0 for a config without any.

    A batch of them is made in ``trial`` first, so that compilation is not counted where it is cached, and the rest in
    turn with other processes (`drf_jax.turns`).
    """
    if "trajectories" not in config.get("method", {}):
        return 0.0
    if pool is not None and (seconds := taken(config, workdir, pool)) is not None:
        return seconds
    few = copy.deepcopy(config)
    few["method"]["trajectories"] = few["method"]["trajectory_batch"]
    cache_trajectories(few, trial)
    with turn():
        start = time.perf_counter()
        cache_trajectories(config, workdir)
        seconds = time.perf_counter() - start
    if pool is not None:
        given(workdir, pool, seconds)
    return seconds
