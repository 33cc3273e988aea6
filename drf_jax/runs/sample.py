"""Draw samples of a trained run as a contact sheet, if asked for, of a prompt, of a style, or guided."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from drf_jax import build
from drf_jax.config import plain
from drf_jax.data.captions import embed_texts
from drf_jax.data.conditioning import label_named
from drf_jax.data.source import Source
from drf_jax.errors import UserError
from drf_jax.runs.distil import load_distilled
from drf_jax.runs.teacher import grid_of_samples, load_teacher, teacher_method
from drf_jax.text.minilm import load_minilm
from drf_jax.training.checkpoint import Which


def sample(
    config: Mapping[str, Any],
    workdir: str | Path,
    path: Path,
    count: int,
    prompt: str | None = None,
    style: str | None = None,
    guidance: float | None = None,
    which: Which = "latest",
) -> None:
    """The first ``count`` samples of a teacher's sampler or of a student's first, written to ``path`` (PNG).

    Args:
      config: of the run.
      workdir: of the run.
      path: of the picture.
      count: samples.
      prompt: their caption; those of the data's first examples unless given.
      style: the name of their class; the labels of the data's first examples unless given.
      guidance: weight of classifier-free guidance; the run's own unless given.
      which: checkpoint of a teacher.

    Raises:
      UserError: no such run, or it was not trained for what is asked.
    """
    config = plain(config)
    if build.task(config) == "teacher":
        teacher = load_teacher(workdir, config, which)
        given = wanted(teacher.data, prompt, style)
        if guidance is not None:
            config["sampler"]["guidance"] = guidance
        method = teacher_method(config, teacher.data, teacher.denoiser)
    else:
        teacher = load_teacher(config["teacher"])
        given = wanted(teacher.data, prompt, style)
        if guidance is not None:
            config["evaluate"]["guidance"] = guidance
        method = load_distilled(workdir, teacher, config)[0].method
    grid_of_samples(method, config, teacher.data, path, count, given)


def wanted(data: Source, prompt: str | None, style: str | None) -> dict[str, np.ndarray]:
    """The part of one sample's conditioning that a prompt and a style give."""
    given = {}
    if style is not None:
        given["label"] = np.asarray(label_named(data, style), np.int32)
    if prompt is not None:
        if not data.caption_width:
            raise UserError(
                "--prompt: the run was trained without captions; those trained with"
                " config.data.captions = True take prompts"
            )
        given["caption"] = embed_texts([prompt], load_minilm().embed)[0]
    return given
