"""What each method of `drf_jax.build.distillation` trains and samples with, one file a method."""

from collections.abc import Callable
from typing import Any

from drf_jax import build
from drf_jax.config import naming
from drf_jax.runs.distillation.adversarial import AdversarialStage
from drf_jax.runs.distillation.consistency import ConsistencyStage
from drf_jax.runs.distillation.draft_refine import DraftRefineStage
from drf_jax.runs.distillation.latent_consistency import LatentConsistencyStage, LoraStage
from drf_jax.runs.distillation.pfgmpp import PFGMPPStage
from drf_jax.runs.distillation.progressive import progressive_stages
from drf_jax.runs.distillation.stage import Setting, Stage
from drf_jax.runs.distillation.step import StepStage

STAGES: dict[type, Callable[[Any, Setting], tuple[Stage, ...]]] = {
    build.DraftRefine: lambda spec, setting: (DraftRefineStage(spec, setting),),
    build.DraftRefineAggressive: lambda spec, setting: (DraftRefineStage(spec, setting),),
    build.DraftRefineAnchored: lambda spec, setting: (DraftRefineStage(spec, setting),),
    build.Step: lambda spec, setting: (StepStage(spec, setting),),
    build.Progressive: progressive_stages,
    build.ConsistencyDistillation: lambda spec, setting: (ConsistencyStage(spec, setting),),
    build.ConsistencyTraining: lambda spec, setting: (ConsistencyStage(spec, setting),),
    build.LatentConsistency: lambda spec, setting: (LatentConsistencyStage(spec, setting),),
    build.LatentConsistencyLora: lambda spec, setting: (LoraStage(spec, setting),),
    build.Adversarial: lambda spec, setting: (AdversarialStage(spec, setting),),
    build.PFGMPP: lambda spec, setting: (PFGMPPStage(spec, setting),),
}


def make_stages(spec: build.Distillation, setting: Setting) -> tuple[Stage, ...]:
    """The trainings of a method, in order.

    Raises:
      UserError: the options do not fit the teacher or one another.
    """
    with naming("config.method"):
        return STAGES[type(spec)](spec, setting)
