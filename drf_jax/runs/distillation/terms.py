"""Further terms of the loss of students of the teacher's walk, and the classifier that some of them look through."""

from pathlib import Path

from drf_jax import build
from drf_jax.objectives.adversarial_term import DiscriminatorLoss, GeneratorLoss, Players
from drf_jax.objectives.high_frequency import HighFrequency
from drf_jax.objectives.perceptual import Perceptual
from drf_jax.objectives.terms import Term
from drf_jax.process.schedule import Process
from drf_jax.runs.distillation.features import (
    ADVERSARY,
    PERCEPTUAL,
    every_map,
    frozen_classifier,
)
from drf_jax.runs.distillation.players import discriminator_of
from drf_jax.runs.distillation.stage import Setting
from drf_jax.typing import Params


def further_terms(spec: build.WithTerms, setting: Setting, process: Process) -> tuple[Term, ...]:
    """Those that have a weight."""
    players = Players(process, every_map, discriminator_of(setting.teacher.data))
    terms = (
        Term("high_frequency", spec.high_frequency_weight, HighFrequency(process)),
        Term("perceptual", spec.perceptual_weight, Perceptual(process, every_map)),
        Term("adversarial", spec.adversarial_weight, GeneratorLoss(players)),
        Term(
            "discriminator",
            float(spec.adversarial_weight > 0),
            DiscriminatorLoss(players, spec.r1_weight),
        ),
    )
    return tuple(term for term in terms if term.weight)


def frozen_of_terms(spec: build.WithTerms, setting: Setting, folder: Path) -> dict[str, Params]:
    """The frozen parameters that they read; a classifier is kept in the folder of the run."""
    if not spec.looks:
        return {}
    name = PERCEPTUAL if spec.perceptual_weight else ADVERSARY
    return {"features": frozen_classifier(setting, spec, folder / name).params}
