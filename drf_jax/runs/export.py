"""Export a trained run's sampler as one file (`drf_jax.export`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drf_jax import build
from drf_jax.data.conditioning import condition_of
from drf_jax.errors import UserError
from drf_jax.export import save
from drf_jax.runs.distil import load_distilled
from drf_jax.runs.teacher import load_teacher, teacher_method


def export_run(
    config: Mapping[str, Any],
    workdir: str | Path,
    path: str | Path,
    batch: int = 1,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    name: str = "",
) -> dict[str, Any]:
    """Write the sampler of a run to ``path`` (.npz), with a JSON beside it, which is returned.

    Args:
      config: of the run.
      workdir: of the run.
      path: of the file.
      batch: images of one call.
      platforms: where it is to run.
      name: one of the teacher's ``config.evaluate.methods``, or of the student's rows; the run's own sampler, or the
        student's first row, unless given.

    Raises:
      UserError: no such run or sampler, or it cannot be exported.
    """
    if build.task(config) == "teacher":
        teacher = load_teacher(workdir, config)
        known = [teacher_method(config, teacher.data, teacher.denoiser)]
        if name:
            known = build.methods(config, teacher.denoiser, teacher.data, build.loop(config))
    else:
        teacher = load_teacher(config["teacher"])
        known = [trained.method for trained in load_distilled(workdir, teacher, config)]
    chosen = [method for method in known if method.name == name] if name else known[:1]
    if not chosen:
        raise UserError(
            f"--method {name}: choose among {', '.join(method.name for method in known)}"
        )
    cond = condition_of(teacher.data, np.arange(batch))
    facts = {"dataset": teacher.data.name, "run": str(workdir)}
    shape = (batch, *teacher.data.image_shape)
    return save(path, chosen[0], shape, cond, platforms, facts)
