"""What a config wants compared and measured."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from drf_jax.build.samplers import method
from drf_jax.config import at_least, choose, read
from drf_jax.data.source import Source
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.evaluation.extractor import EXTRACTORS
from drf_jax.evaluation.features import FEATURE_SPACE
from drf_jax.evaluation.report import FAMILIES, family
from drf_jax.evaluation.score import check_metrics
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.method import Method


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """What `drf evaluate` compares: ``methods`` of the teacher by row name, and the ``students``' runs."""

    samples: int
    batch_size: int = 256
    methods: dict = dataclasses.field(default_factory=dict)
    students: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("fd",)
    """Of `drf_jax.evaluation.score`."""
    feature_space: str = FEATURE_SPACE
    features: str = ""
    """File of the feature network; a classifier's is in the run's folder unless given."""
    feature_steps: int = 600
    """Updates of a classifier that has to be trained first."""
    statistics: str = ""
    """File of the real data's statistics (`drf stats`), used for fd instead of the data."""
    real: int = 0
    """At most this many real images, the first ones; 0: all."""
    seeds: int = 1
    """Sets of samples; with several, rows are means, with standard deviations."""
    repeats: int = 20

    def __post_init__(self):
        check_metrics(self.metrics)
        choose(EXTRACTORS, self.feature_space, "config.evaluate.feature_space")
        at_least(1, self, "config.evaluate", "samples", "batch_size", "seeds", "repeats")
        at_least(1, self, "config.evaluate", "feature_steps")
        at_least(0, self, "config.evaluate", "real")


def evaluate(config: Mapping[str, Any]) -> Evaluate:
    return read(Evaluate, config["evaluate"], "config.evaluate")


def methods(
    config: Mapping[str, Any], denoiser: Denoiser, data: Source, loop: Loop
) -> list[Method]:
    """The teacher's samplers that ``config.evaluate.methods`` describes, by the names of their rows.

    Raises:
      UserError: one of them is wrong, or its name begins with no known family.
    """
    made = []
    for name, section in evaluate(config).methods.items():
        path = f"config.evaluate.methods.{name}"
        if family(name) not in FAMILIES:
            raise UserError(f"{path}: the name must begin with one of {', '.join(FAMILIES)}")
        made.append(method(name, section, denoiser, data, loop, path))
    return made
