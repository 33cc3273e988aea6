"""What a config wants compared and measured."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from drf_jax.build.samplers import method
from drf_jax.config import at_least, choose, naming, read
from drf_jax.data.source import Source
from drf_jax.denoiser import Denoiser
from drf_jax.errors import UserError
from drf_jax.evaluation.extractor import EXTRACTORS
from drf_jax.evaluation.features import FEATURE_SPACE
from drf_jax.evaluation.report import FAMILIES, family
from drf_jax.evaluation.score import check_metrics
from drf_jax.sampling.grid import check_name as check_grid
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
    feature_label: str = ""
    """Label that it tells apart, where the data have several; ``config.data.label`` unless given."""
    judge: str = ""
    """A second feature space, in which fd is taken once more, as fd_judge; none unless given."""
    judge_features: str = ""
    """The file of its network; not every space needs one (`drf_jax.evaluation.extractor`)."""
    judge_statistics: str = ""
    """File of the real data's statistics there, used instead of the data."""
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
        for key in ("judge_features", "judge_statistics"):
            if getattr(self, key) and not self.judge:
                raise UserError(f"config.evaluate.{key}: there is no config.evaluate.judge")
        if self.judge:
            choose(EXTRACTORS, self.judge, "config.evaluate.judge")
        at_least(1, self, "config.evaluate", "samples", "batch_size", "seeds", "repeats")
        at_least(1, self, "config.evaluate", "feature_steps")
        at_least(0, self, "config.evaluate", "real")


@dataclasses.dataclass(frozen=True)
class EvaluateDistilled(Evaluate):
    """Of a distilled run: also which of its samplers become rows."""

    row: str = ""
    """What its rows are called before the number of calls; the method's family unless given."""
    calls: tuple[int, ...] = ()
    """Sequential calls, a row each; without any, what the method is for."""
    guidance: float = 1.0
    """Guidance weight of the student, and of the teacher in a hybrid."""
    hybrid: dict = dataclasses.field(default_factory=dict)
    """`Hybrid`, or nothing."""

    def __post_init__(self):
        super().__post_init__()
        if self.row:
            check_name(self.row, "config.evaluate.row")


@dataclasses.dataclass(frozen=True)
class Hybrid:
    """Draft–refine sampling in which the student drafts and its teacher refines (`drf_jax.sampling.distilled`): a row
    for each number of rounds, of two sequential calls each; a round takes ``drafts`` + 1 steps.

    ``row`` is what comes before the number of calls, ``grid`` the student's own unless given, and ``relaxation`` the
    factor ω of the last step. Of the numbers of rounds in ``ended_by_student`` the last round is the student's call
    alone: 3 calls of 2 rounds, 5 of 3. ``refiner`` is the run of a student in place of the teacher: one whose network
    is the teacher's, trained on (PFGM++).
    """

    rounds: tuple[int, ...]
    drafts: int
    row: str = "hybrid"
    grid: str = ""
    relaxation: float = 1.0
    ended_by_student: tuple[int, ...] = ()
    refiner: str = ""

    def __post_init__(self):
        path = "config.evaluate.hybrid"
        at_least(1, self, path, "drafts")
        if not 0 < self.relaxation < 10:
            raise UserError(
                f"{path}.relaxation = {self.relaxation}: must be above 0, and below 10; 1 is none"
            )
        check_name(self.row, f"{path}.row")
        if self.grid:
            with naming(path):
                check_grid(self.grid)
        if min(self.rounds, default=1) < 1:
            raise UserError(f"{path}.rounds = {self.rounds}: must be numbers of at least 1")
        if min(self.ended_by_student, default=2) < 2:
            raise UserError(
                f"{path}.ended_by_student = {self.ended_by_student}: must be numbers of at least 2; one round that the"
                " student ends is the student's own row of one call"
            )


def evaluate(config: Mapping[str, Any]) -> Evaluate:
    spec = EvaluateDistilled if config.get("task") == "distill" else Evaluate
    return read(spec, config["evaluate"], "config.evaluate")


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
        check_name(name, path)
        made.append(method(name, section, denoiser, data, loop, path))
    return made


def check_name(name: str, path: str) -> None:
    """Raise unless a row's name begins with a known family."""
    if family(name) not in FAMILIES:
        raise UserError(f"{path}: the name must begin with one of {', '.join(FAMILIES)}")
