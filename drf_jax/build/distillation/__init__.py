"""The ways to distil a teacher into a network of few steps: their names, their options and the family of their rows.

``config.method`` is ``{"name": ..., option: ...}`` of a config with ``task = "distill"``. What each of them does with
its options is in `drf_jax.runs.distillation`.

``guidance`` is the range of guidance weights that the student is shown while it is trained, and takes as an input then;
(1, 1) is the conditional teacher, and no input.
"""

from collections.abc import Mapping
from typing import Any

from drf_jax.build.distillation.adversarial import Adversarial
from drf_jax.build.distillation.base import PATH, UNGUIDED, Distillation, WithFeatures
from drf_jax.build.distillation.consistency import ConsistencyDistillation, ConsistencyTraining
from drf_jax.build.distillation.draft_refine import (
    DraftRefine,
    DraftRefineAggressive,
    DraftRefineAnchored,
)
from drf_jax.build.distillation.latent_consistency import LatentConsistency, LatentConsistencyLora
from drf_jax.build.distillation.pfgmpp import PFGMPP
from drf_jax.build.distillation.progressive import Progressive
from drf_jax.build.distillation.step import Step
from drf_jax.build.distillation.walk import WithTerms
from drf_jax.config import choose, naming, read, split_name

__all__ = [
    "METHODS",
    "PFGMPP",
    "UNGUIDED",
    "Adversarial",
    "ConsistencyDistillation",
    "ConsistencyTraining",
    "Distillation",
    "DraftRefine",
    "DraftRefineAggressive",
    "DraftRefineAnchored",
    "LatentConsistency",
    "LatentConsistencyLora",
    "Progressive",
    "Step",
    "WithFeatures",
    "WithTerms",
    "distillation_spec",
]

METHODS: dict[str, type[Distillation]] = {
    "draft_refine": DraftRefine,
    "draft_refine_aggressive": DraftRefineAggressive,
    "draft_refine_anchored": DraftRefineAnchored,
    "step": Step,
    "progressive": Progressive,
    "consistency_distillation": ConsistencyDistillation,
    "consistency_training": ConsistencyTraining,
    "lcm": LatentConsistency,
    "lcm_lora": LatentConsistencyLora,
    "adversarial": Adversarial,
    "pfgmpp": PFGMPP,
}


def distillation_spec(config: Mapping[str, Any]) -> Distillation:
    """The method of a config and its options.

    Raises:
      UserError: there is no such method, or it has no such option.
    """
    name, rest = split_name(config["method"], PATH)
    with naming(PATH):
        return read(choose(METHODS, name, f"{PATH}.name"), rest, PATH)
