"""Draw samples of a trained run as a contact sheet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drf_jax import build
from drf_jax.runs.student import load_student
from drf_jax.runs.teacher import grid_of_samples, load_teacher, teacher_method


def sample(config: Mapping[str, Any], workdir: str | Path, path: Path, count: int) -> None:
    """The first ``count`` samples of a teacher's sampler or of a student, written to ``path`` (PNG)."""
    if build.task(config) == "teacher":
        teacher = load_teacher(workdir, config)
        method = teacher_method(config, teacher.data, teacher.denoiser)
    else:
        teacher = load_teacher(config["teacher"])
        method, _ = load_student(workdir, teacher, config)
    grid_of_samples(method, config, teacher.data, path, count)
