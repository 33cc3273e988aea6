"""A packed model's teacher as a run again, whose students can be trained and measured.

It is a teacher like any other, with a hash of its own: rounded once, it is the same teacher on every machine. It cannot
be trained on.
"""

import json
import shutil
from pathlib import Path

import jax.numpy as jnp

from drf_jax.atomic import replacing
from drf_jax.config import plain
from drf_jax.errors import UserError
from drf_jax.runs.teacher import parameter_hash
from drf_jax.training.checkpoint import Checkpoints, abstract, load_ema
from drf_jax.training.state import TrainState
from drf_jax.workdir import claim
from drf_jax.zoo.model import FEATURES, load_model


def unpack(where: str | Path, workdir: str | Path, data_dir: str = "") -> None:
    """Make the run in ``workdir`` of the teacher of the model ``where``; nothing if it is there already.

    Args:
      where: the model's name, or its folder.
      workdir: of the run. It gets the classifier that came with the model, too.
      data_dir: where its data are prepared; ~/data unless given, of data that are prepared at all.

    Raises:
      UserError: no such model, it is damaged, or ``workdir`` holds another run.
    """
    model, workdir = load_model(where), Path(workdir)
    config = plain(model.teacher.config)
    if data_dir:
        config["data"]["data_dir"] = data_dir
    step, params = config["train"]["steps"], model.teacher.denoiser.params
    claim(workdir, config)
    if model.features and not (workdir / FEATURES).exists():
        with replacing(workdir / FEATURES) as file, model.features.open("rb") as stored:
            shutil.copyfileobj(stored, file)
    if (seconds := model.facts["teacher"]["train_seconds"]) is not None:
        with replacing(workdir / "metrics.jsonl") as file:
            file.write((json.dumps({"step": step, "seconds": seconds}) + "\n").encode())
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        checkpoints.save(step, TrainState(jnp.int32(step), params, params, {}))
    if parameter_hash(load_ema(workdir / "checkpoints", abstract(params))) != model.teacher.sha256:
        raise UserError(f"{workdir} holds another teacher; use another folder")
