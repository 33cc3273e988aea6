"""Pack a trained run, and its teacher, into a folder that `drf_jax.zoo.model` loads."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from drf_jax import build
from drf_jax.address import here
from drf_jax.atomic import replacing
from drf_jax.config import plain
from drf_jax.data.conditions import conditions_of
from drf_jax.data.source import Source
from drf_jax.evaluation.report import read_results
from drf_jax.runs.distil import load_stages, seconds_behind
from drf_jax.runs.teacher import load_teacher
from drf_jax.runs.trained import train_seconds
from drf_jax.typing import Params
from drf_jax.workdir import read_config
from drf_jax.zoo.card import card
from drf_jax.zoo.model import FACTS, FEATURES
from drf_jax.zoo.parameters import fits, save_parameters

EXAMPLES = 64
"""A contact sheet's."""
LOCAL = {
    "teacher": "",
    "data.data_dir": "~/data",
    "data.memory_gib": None,
    "method.source": "",
    "method.features": "",
    "evaluate.students": (),
    "evaluate.features": "",
    "evaluate.judge_features": "",
    "evaluate.judge_statistics": "",
    "evaluate.statistics": "",
}
"""Keys that name folders of the machine, or are of it, and what stands there instead; None: nothing."""


def pack(workdir: str | Path, folder: str | Path, title: str = "") -> dict[str, Any]:
    """Write the newest averaged parameters of a teacher's or a student's run; returns what model.json says.

    The rows of the run's ``results.json``, if it was evaluated, or else of its teacher's go into the card. The
    classifier in the teacher's folder, if it is there, goes with the model.

    Args:
      workdir: of the run.
      folder: to write into; model.json is written last.
      title: name of the model; the folder's unless given.

    Raises:
      UserError: no such run, an unreadable checkpoint, or the data are not there.
    """
    workdir, folder = here(workdir), Path(folder)
    config, student = read_config(workdir), None
    if build.task(config) == "teacher":
        home, params = workdir, []
        teacher = load_teacher(workdir)
    else:
        home = here(config["teacher"])
        teacher = load_teacher(home)
        _, stages, params = load_stages(config, workdir, teacher)
        student = {
            "config": portable(without_refiner(config)),
            "parameters": sum(map(size, params)),
            "train_seconds": seconds_behind(config, workdir, stages)[-1],
        }
    facts = {
        "name": title or folder.resolve().name,
        "data": facts_of(teacher.data),
        "teacher": {
            "config": portable(teacher.config),
            "parameters": size(teacher.denoiser.params),
            "train_seconds": train_seconds(home),
        },
        "student": student,
        "rounded": not all(map(fits, (teacher.denoiser.params, *params))),
        **(results_of(workdir) or results_of(home) or {"rows": []}),
    }
    save_parameters(folder / "teacher.npz", teacher.denoiser.params)
    for i, stage in enumerate(params):
        save_parameters(folder / f"student-{i}.npz", stage)
    with replacing(folder / "examples.npz") as file:
        np.savez_compressed(file, **conditions_of(teacher.data, EXAMPLES).examples)
    if (home / FEATURES).exists():
        with replacing(folder / FEATURES) as file:
            file.write((home / FEATURES).read_bytes())
    with replacing(folder / "README.md") as file:
        file.write(card(facts).encode())
    with replacing(folder / FACTS) as file:
        file.write((json.dumps(facts, indent=1) + "\n").encode())
    return facts


def without_refiner(config: Mapping[str, Any]) -> dict[str, Any]:
    """A student's config without hybrids that another run refines: a model has the teacher and the student only."""
    config = plain(config)
    if config["evaluate"].get("hybrid", {}).get("refiner"):
        print("pack: hybrids are left out: their refiner is another run's", file=sys.stderr)
        config["evaluate"] = config["evaluate"] | {"hybrid": {}}
    return config


def portable(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A run's config without what is of the machine that it ran on."""
    made = {}
    for key, value in plain(config).items():
        if isinstance(value, Mapping):
            made[key] = portable(value, f"{prefix}{key}.")
        elif (kept := LOCAL.get(f"{prefix}{key}", value)) is not None:
            made[key] = kept
    return made


def facts_of(data: Source) -> dict[str, Any]:
    """What networks are built from, and whose data they were."""
    return {
        "name": data.name,
        "image_shape": list(data.image_shape),
        "num_classes": data.num_classes,
        "classes": list(data.classes),
        "caption_width": data.caption_width,
        "images": len(data),
        "licences": getattr(getattr(data, "card", data), "licences", {}),
    }


def results_of(workdir: Path) -> dict[str, Any]:
    """A run's rows, and the command, device and versions that made them; nothing if it was not evaluated."""
    path = workdir / "results.json"
    found = read_results(path) if path.exists() else {}
    return {key: found[key] for key in ("rows", "command", "device", "jax", "git") if key in found}


def size(params: Params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))
