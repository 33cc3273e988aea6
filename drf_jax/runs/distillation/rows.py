"""The samplers of a distilled run that a config wants rows of."""

import dataclasses
from collections.abc import Sequence

from drf_jax import build
from drf_jax.config import read
from drf_jax.errors import UserError
from drf_jax.runs.distillation.hybrid import hybrid_method
from drf_jax.runs.distillation.stage import Setting, Stage
from drf_jax.sampling.method import Method
from drf_jax.typing import Params


def rows(
    spec: build.EvaluateDistilled,
    setting: Setting,
    stages: Sequence[Stage],
    params: Sequence[Params],
) -> list[tuple[Method, int]]:
    """Each method with the number of its stage; ``params`` are those of the stages.

    Raises:
      UserError: no stage samples in so many calls, a hybrid is wrong, or the guidance weight is out of range.
    """
    own = [calls for stage in stages for calls in stage.calls]
    made = []
    for calls in spec.calls or own:
        number = next((i for i, stage in enumerate(stages) if stage.serves(calls)), None)
        if number is None:
            raise UserError(
                f"config.evaluate.calls: {calls} is not possible for this student; choose among {own}"
            )
        method = stages[number].method(params[number], calls, spec.guidance)
        made.append((named(method, spec.row, calls), number))
    return made + [
        (method, len(stages) - 1) for method in hybrids(spec, setting, stages[-1], params[-1])
    ]


def named(method: Method, row: str, calls: int) -> Method:
    """The method under the name that the config gives its rows."""
    return dataclasses.replace(method, name=f"{row}-{calls}") if row else method


def hybrids(
    spec: build.EvaluateDistilled, setting: Setting, stage: Stage, params: Params
) -> list[Method]:
    """The hybrids that are asked for, drafting with a stage's student."""
    if not spec.hybrid:
        return []
    teacher, options = setting.teacher, read(build.Hybrid, spec.hybrid, "config.evaluate.hybrid")
    student = stage.denoiser(params, spec.guidance)
    refiner = build.guided(teacher.denoiser, spec.guidance, teacher.data)
    process = teacher.denoiser.process
    return [
        hybrid_method(rounds, options, student, refiner, process, setting.loop)
        for rounds in options.rounds
    ]
