"""The cached trajectories of a student, made before its training so that their seconds are known.

Students of one teacher that need the same trajectories can share them through a folder, the pool. They are the same
bits as if each had made its own, and each is told the seconds that they took when they were made.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drf_jax.data.trajectories import SECONDS, made_with
from drf_jax.errors import UserError
from drf_jax.runs.distil import stages_of
from drf_jax.runs.teacher import load_teacher
from drf_jax.runs.trajectories import TRAJECTORIES


def cache_trajectories(config: Mapping[str, Any], workdir: Path) -> None:
    """Make what a training in ``workdir`` would make, or go on with it."""
    teacher = load_teacher(config["teacher"])
    _, (stage,) = stages_of(config, teacher)
    stage.training(teacher.denoiser.params, workdir)


def files(folder: Path) -> list[Path]:
    """The cache of a folder: states, and what they are."""
    return [folder / TRAJECTORIES, (folder / TRAJECTORIES).with_suffix(".json")]


def seconds_each(workdir: Path) -> float:
    """What a trajectory of a run's cache took; 0 where there is none."""
    return made_with(workdir / TRAJECTORIES).get(SECONDS, 0.0)


def link(source: Path, folder: Path) -> None:
    """The cache of ``source`` in ``folder`` too, without a copy."""
    folder.mkdir(parents=True, exist_ok=True)
    for old, new in zip(files(source), files(folder), strict=True):
        os.link(old, new)


def taken(config: Mapping[str, Any], workdir: Path, pool: Path) -> bool:
    """Put what ``config`` needs from the pool into ``workdir``, if it is there."""
    if any(file.exists() for file in files(workdir)):
        return False  # to be finished
    for folder in sorted(pool.glob("*")):
        facts = made_with(folder / TRAJECTORIES)
        if facts.get("count") != config["method"]["trajectories"]:
            continue
        link(folder, workdir)
        try:
            cache_trajectories(config, workdir)
        except UserError:  # they are of something else
            for file in files(workdir):
                file.unlink()
        else:
            return True
    return False


def given(workdir: Path, pool: Path) -> None:
    """Put the cache of ``workdir`` into the pool."""
    pool.mkdir(parents=True, exist_ok=True)
    link(workdir, Path(tempfile.mkdtemp(dir=pool)))


def prepare(config: Mapping[str, Any], workdir: Path, pool: Path | None = None) -> float:
    """Seconds that it took to cache the trajectories in ``workdir``; 0 for a config without any."""
    if "trajectories" not in config.get("method", {}):
        return 0.0
    if pool is None or not taken(config, workdir, pool):
        cache_trajectories(config, workdir)
        if pool is not None:
            given(workdir, pool)
    return seconds_each(workdir) * config["method"]["trajectories"]
