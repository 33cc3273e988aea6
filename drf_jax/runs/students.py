"""The methods of a student's run, whatever kind of run it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drf_jax import build
from drf_jax.runs.distil import load_distilled
from drf_jax.runs.student import load_student
from drf_jax.runs.teacher import Teacher
from drf_jax.runs.trained import Trained
from drf_jax.workdir import read_config


def load_students(
    workdir: str | Path, teacher: Teacher, config: Mapping[str, Any] | None = None
) -> list[Trained]:
    """The newest checkpoints of a run that distilled this teacher.

    Raises:
      UserError: no such run, an unreadable checkpoint, or one distilled from another teacher.
    """
    if build.task(config or read_config(workdir)) == "distill":
        return load_distilled(workdir, teacher, config)
    return [load_student(workdir, teacher, config)]
