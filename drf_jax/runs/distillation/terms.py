"""Further terms of the loss of students of the teacher's walk, and the classifier that one of them looks through."""

from pathlib import Path

from drf_jax import build
from drf_jax.objectives.high_frequency import HighFrequency
from drf_jax.objectives.perceptual import Perceptual
from drf_jax.objectives.terms import Term
from drf_jax.process.schedule import Process
from drf_jax.runs.distillation.features import (
    PERCEPTUAL,
    check_features,
    every_map,
    frozen_classifier,
)
from drf_jax.runs.distillation.stage import Setting
from drf_jax.typing import Params


def check_terms(spec: build.WithTerms, setting: Setting) -> None:
    """Raise `UserError` if there is nothing to train a classifier on that a term needs."""
    if spec.perceptual_weight:
        check_features(spec.features, setting.teacher.data)


def further_terms(spec: build.WithTerms, setting: Setting, process: Process) -> tuple[Term, ...]:
    """Those that have a weight."""
    terms = (
        Term("high_frequency", spec.high_frequency_weight, HighFrequency(process)),
        Term("perceptual", spec.perceptual_weight, Perceptual(process, every_map)),
    )
    return tuple(term for term in terms if term.weight)


def frozen_of_terms(spec: build.WithTerms, setting: Setting, folder: Path) -> dict[str, Params]:
    """The frozen parameters that they read; a classifier is kept in the folder of the run."""
    if not spec.perceptual_weight:
        return {}
    return {"features": frozen_classifier(setting, spec, folder / PERCEPTUAL).params}
