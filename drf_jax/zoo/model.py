"""Load a packed model: its teacher and its student, ready to sample."""

import dataclasses
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jax

from drf_jax import build
from drf_jax.config import plain
from drf_jax.data.conditions import Conditions
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.evaluation.weights_file import read_npz
from drf_jax.networks.network import DenoisingNetwork
from drf_jax.runs.distil import stage_shapes, stages_of
from drf_jax.runs.distillation.rows import rows
from drf_jax.runs.teacher import Teacher, parameter_hash, teacher_method
from drf_jax.sampling.method import Method
from drf_jax.typing import Params
from drf_jax.zoo.parameters import load_parameters

SHIPPED = Path(str(files("drf_jax.zoo") / "models"))
"""The models that come with the library."""
FACTS = "model.json"
"""Written last."""
FEATURES = "features.npz"
"""The classifier that its samples were measured with; not every model has it."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A packed model.

    Attributes:
      facts: what its model.json says.
      student: the parameters of each stage; none of a teacher alone.
      features: the file of the classifier that its samples were measured with, if it came with the model.
    """

    facts: Mapping[str, Any]
    teacher: Teacher
    student: tuple[Params, ...]
    features: Path | None = None

    def methods(self, guidance: float | None = None) -> list[Method]:
        """Its samplers, the student's first, then the teacher's own, all at a guidance weight (their own if None).

        Raises:
          UserError: the student was not trained for that weight.
        """
        config, made = plain(self.teacher.config), []
        if guidance is not None:
            config["sampler"]["guidance"] = guidance
        if self.student:
            own = plain(self.facts["student"]["config"])
            if guidance is not None:
                own["evaluate"]["guidance"] = guidance
            made = rows(build.evaluate(own), *stages_of(own, self.teacher), list(self.student))
        last = teacher_method(config, self.teacher.data, self.teacher.denoiser)
        return [*(method for method, _ in made), last]

    def method(self, name: str = "", guidance: float | None = None) -> Method:
        """One of `methods` by its name, the first unless given.

        Raises:
          UserError: it has no such sampler.
        """
        known = self.methods(guidance)
        for method in known:
            if name in ("", method.name):
                return method
        raise UserError(
            f"--method {name}: choose among {', '.join(method.name for method in known)}"
        )


def shipped() -> list[str]:
    """Names of the models that come with the library."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/model.json"))


def is_model(where: str | Path) -> bool:
    """Whether it is the name of a model that comes with the library, or the folder of one."""
    return where in shipped() or (Path(where) / FACTS).exists()


def read_facts(where: str | Path) -> tuple[Path, dict[str, Any]]:
    """The folder of a model, by its name or as a path, and its model.json.

    Raises:
      UserError: there is no such model, or its model.json cannot be read.
    """
    folder = SHIPPED / where if where in shipped() else Path(where)
    path = folder / FACTS
    try:
        return folder, json.loads(path.read_text())
    except FileNotFoundError:
        known = ", ".join(shipped()) or "none"
        raise UserError(
            f"--model {where}: no such model; shipped: {known}; or a folder that drf pack has written"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def load_model(where: str | Path) -> Model:
    """The model of that name, or in that folder.

    Raises:
      UserError: there is no such model, or one of its files is missing, damaged or of another model.
    """
    folder, facts = read_facts(where)
    try:
        about, config, student = facts["data"], facts["teacher"]["config"], facts["student"]
        data = Conditions(
            about["name"],
            tuple(about["image_shape"]),
            about["num_classes"],
            tuple(about["classes"]),
            about["caption_width"],
            read_npz(folder / "examples.npz"),
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / FACTS} is not a model's: {error!r}") from None
    network = DenoisingNetwork(build.backbone(config, data))
    shapes = jax.eval_shape(lambda: build.init_teacher(network, data, jax.random.key(0)))
    params = load_parameters(folder / "teacher.npz", shapes)
    denoiser = Denoiser(params, network, build.process(config), build.output(config))
    teacher = Teacher(config, data, network, denoiser, parameter_hash(params))
    features = folder / FEATURES if (folder / FEATURES).exists() else None
    if student is None:
        return Model(facts, teacher, (), features)
    _, stages = stages_of(student["config"], teacher)
    shapes = stage_shapes(stages, params)
    loaded = [load_parameters(folder / f"student-{i}.npz", s) for i, s in enumerate(shapes)]
    return Model(facts, teacher, tuple(loaded), features)
