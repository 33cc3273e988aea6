"""A packed model as runs again: a teacher whose students can be trained and measured, and the student that it has.

They are runs like any other, with a hash of their own: rounded once, they are the same on every machine. They cannot be
trained on.
"""

import json
import shutil
from pathlib import Path

import jax.numpy as jnp

from drf_jax.address import there
from drf_jax.atomic import replacing
from drf_jax.config import plain
from drf_jax.errors import UserError
from drf_jax.runs.distil import TEACHER, stages_of
from drf_jax.runs.teacher import parameter_hash
from drf_jax.training.checkpoint import Checkpoints, abstract, load_ema
from drf_jax.training.state import TrainState
from drf_jax.typing import Params
from drf_jax.workdir import claim
from drf_jax.zoo.model import FEATURES, Model, load_model


def unpack(
    where: str | Path, workdir: str | Path, data_dir: str = "", student: str | Path = ""
) -> None:
    """Make the run in ``workdir`` of the teacher of the model ``where``; nothing if it is there already.

    Args:
      where: the model's name, or its folder.
      workdir: of the run. It gets the classifier that came with the model, too.
      data_dir: where its data are prepared; ~/data unless given, of data that are prepared at all.
      student: folder of a run of the model's student; none is made unless given.

    Raises:
      UserError: no such model, it is damaged, it has no student, or a folder holds another run.
    """
    model, name = load_model(where), str(workdir)
    config = plain(model.teacher.config)
    if data_dir:
        config["data"]["data_dir"] = data_dir
    step, params = config["train"]["steps"], model.teacher.denoiser.params
    workdir = claim(workdir, config)
    put(workdir, workdir, "teacher", step, params, model.facts["teacher"]["train_seconds"])
    if model.features and not (workdir / FEATURES).exists():
        with replacing(workdir / FEATURES) as file, model.features.open("rb") as stored:
            shutil.copyfileobj(stored, file)
    if student:
        unpack_student(model, name, student)


def unpack_student(model: Model, teacher: str, workdir: str | Path) -> None:
    """Make the run of a model's student, whose teacher's run is ``teacher``.

    A method of several stages gets no seconds: the model knows only those of all together.
    """
    if not model.student:
        raise UserError(f"--student: the model {model.facts['name']} has none")
    facts = model.facts["student"]
    config = plain(facts["config"]) | {"teacher": teacher}
    _, stages = stages_of(config, model.teacher)
    workdir = claim(workdir, config)
    seconds = facts["train_seconds"] if len(stages) == 1 else None
    for stage, params in zip(stages, model.student, strict=True):
        folder = workdir / stage.name
        put(workdir, folder, "student", config["train"]["steps"], params, seconds)
    with replacing(workdir / TEACHER) as file:
        file.write(json.dumps({"sha256": model.teacher.sha256}).encode())


def put(
    workdir: Path, folder: Path, what: str, step: int, params: Params, seconds: float | None
) -> None:
    """What a run or one of its stages has at its end: a checkpoint, and a line of metrics if its seconds are known.

    Raises:
      UserError: other parameters are there; they stay.
    """
    saved = folder / "checkpoints"
    if not any(there(saved).glob("*")):
        with Checkpoints(saved) as checkpoints:
            checkpoints.save(step, TrainState(jnp.int32(step), params, params, {}))
    if parameter_hash(load_ema(saved, abstract(params))) != parameter_hash(params):
        raise UserError(f"{workdir} holds another {what}; use another folder")
    if seconds is not None:
        with replacing(folder / "metrics.jsonl") as file:
            file.write((json.dumps({"step": step, "seconds": seconds}) + "\n").encode())
