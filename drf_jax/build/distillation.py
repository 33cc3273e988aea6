"""The ways to distil a teacher into a network of few steps: their names, their options and the family of their rows.

``config.method`` is ``{"name": ..., option: ...}`` of a config with ``task = "distill"``. What each of them does with
its options is in `drf_jax.runs.distillation`.

``guidance`` is the range of guidance weights that the student is shown while it is trained, and takes as an input then;
(1, 1) is the conditional teacher, and no input.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from drf_jax.build.samplers.multistep import SOLVERS
from drf_jax.config import at_least, choose, naming, read, split_name
from drf_jax.errors import UserError
from drf_jax.networks.cross_draft import PLACES
from drf_jax.networks.embed import DTYPES as COMPUTE_DTYPES
from drf_jax.networks.lora import KERNELS
from drf_jax.objectives.consistency import PAIR_WEIGHTINGS
from drf_jax.objectives.discretisation import PROPOSALS
from drf_jax.objectives.distance import DISTANCES
from drf_jax.objectives.draft_refine import GRADIENTS
from drf_jax.objectives.progressive import halvings
from drf_jax.objectives.target import TARGETS
from drf_jax.process.weighting import WEIGHTINGS
from drf_jax.sampling.grid import check_name
from drf_jax.sampling.step import STEPS
from drf_jax.sampling.transition import FORMS

PATH = "config.method"
UNGUIDED = (1.0, 1.0)
CROSS_DRAFT = dict.fromkeys((*PLACES, "none"))
DRAFTERS = dict.fromkeys(("heads", "target"))
REFERENCES = dict.fromkeys(("draft", "anchor"))
SHARES = dict.fromkeys(("none", "trunk"))
DTYPES = dict.fromkeys(("float32", "float16"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distillation:
    """What all methods have: the range of guidance weights, and the grid of the student's own times."""

    guidance: tuple[float, ...] = UNGUIDED
    grid: str = "uniform"
    family: ClassVar[str]
    source: ClassVar[str] = ""
    """Folder of the run whose network the student starts as, where that may be another than the teacher."""

    def __post_init__(self):
        if len(self.guidance) != 2 or not 0 <= self.guidance[0] <= self.guidance[1]:
            raise UserError(f"{PATH}.guidance = {self.guidance}: must be a range (low, high)")
        with naming(PATH):
            check_name(self.grid)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithFeatures(Distillation):
    """What methods have whose loss may look through a frozen classifier.

    It is of the file ``features``, or trained for ``feature_steps`` updates with the seed ``feature_seed``.
    """

    features: str = ""
    feature_steps: int = 600
    feature_seed: int = 1
    looking: ClassVar[tuple[str, ...]] = ()
    """Weights of what looks through it."""

    def __post_init__(self):
        super().__post_init__()
        at_least(1, self, PATH, "feature_steps")
        at_least(0, self, PATH, "feature_seed")

    @property
    def looks(self) -> bool:
        """Whether the loss does."""
        return any(getattr(self, weight) > 0 for weight in self.looking)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithTerms(WithFeatures):
    """What students of the teacher's walk have: further terms of the loss, and their weights."""

    high_frequency_weight: float = 0.0
    """Of `drf_jax.objectives.high_frequency`."""
    perceptual_weight: float = 0.0
    """Of `drf_jax.objectives.perceptual`."""
    adversarial_weight: float = 0.0
    """Of `drf_jax.objectives.adversarial_term`, with the same classifier. Its discriminator learns with a penalty of
    ``r1_weight`` and with ``discriminator_learning_rate``."""
    r1_weight: float = 0.01
    discriminator_learning_rate: float = 1e-3
    weights: ClassVar[tuple[str, ...]] = (
        "high_frequency_weight",
        "perceptual_weight",
        "adversarial_weight",
    )
    looking: ClassVar[tuple[str, ...]] = ("perceptual_weight", "adversarial_weight")

    def __post_init__(self):
        super().__post_init__()
        at_least(0, self, PATH, *self.weights, "r1_weight", "discriminator_learning_rate")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step(WithTerms):
    """`drf_jax.objectives.step_distillation`: ``steps`` steps, on as many cached trajectories of the teacher.

    From update ``on_policy_after`` on, with batches of ``batch_size_on_policy`` (0: the training's divided by steps).
    """

    steps: int
    trajectories: int
    teacher_steps: int = 48
    spacing: float = 1.0
    """Where along the teacher's walk the student's steps end (`drf_jax.runs.trajectories.Walk`)."""
    on_policy_after: int = 0
    batch_size_on_policy: int = 0
    trajectory_batch: int = 256
    trajectory_dtype: str = "float32"
    family: ClassVar[str] = "step-distilled"

    def __post_init__(self):
        super().__post_init__()
        at_least(1, self, PATH, "steps", "trajectories", "teacher_steps", "trajectory_batch")
        at_least(0, self, PATH, "on_policy_after", "batch_size_on_policy")
        if self.teacher_steps % self.steps:
            raise UserError(
                f"{PATH}.steps = {self.steps}: must divide teacher_steps = {self.teacher_steps}"
            )
        choose(DTYPES, self.trajectory_dtype, f"{PATH}.trajectory_dtype")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftRefine(WithTerms):
    """`drf_jax.objectives.draft_refine`: ``rounds`` rounds of ``drafts`` drafts, on as many cached trajectories of the
    teacher; two sequential calls and drafts + 1 steps a round. Defaults are what runs did
    from before a key was there (`drf_jax.workdir.ABSENT`); configs have every key.

    From update ``on_policy_after`` on on-policy, with batches of ``batch_size_on_policy`` (0: the training's divided by
    rounds). With a ``source`` the networks start as that of another distilled run of the teacher
    (`drf_jax.runs.source`).
    """

    rounds: int
    drafts: int
    trajectories: int
    teacher_steps: int = 48
    spacing: float = 1.0
    """Where along the teacher's walk the student's steps end (`drf_jax.runs.trajectories.Walk`)."""
    source: str = ""
    form: str = "data"
    drafter: str = "heads"
    """How the draft network speaks of several times: by K ``heads`` on one trunk (`drf_jax.networks.drafter`), or
    evaluated for each ``target`` time (`drf_jax.networks.target_drafter`)."""
    share: str = "none"
    """Of the drafter's and the refiner's weights: those of the ``trunk``, and of all that both have, or ``none``."""
    lora_rank: int = 0
    """Of deltas that are trained in place of the kernels that the networks start with (`drf_jax.networks.adapted`); 0:
    the kernels themselves are."""
    draft_weight: float = 1.0
    """Of the drafts' own errors, and ``refine_weight`` of those of all refined states."""
    refine_weight: float = 1.0
    cross_draft: str = "every_block"
    """Where the drafts see each other, of `CROSS_DRAFT` (`drf_jax.networks.cross_draft`)."""
    cross_draft_width: int = 0
    """Of that attention; 0: the width of the feature map."""
    gradient: str = "through"
    """Whether the refined states' gradient runs through the drafts, of `drf_jax.objectives.draft_refine.GRADIENTS`."""
    gradient_between_rounds: str = "stopped"
    """The same of later rounds' gradient and the states that a round starts from, on-policy."""
    end_weight: float = 0.0
    """Of `drf_jax.objectives.end_point`."""
    on_policy_after: int = 0
    batch_size_on_policy: int = 0
    trajectory_batch: int = 256
    trajectory_dtype: str = "float32"
    family: ClassVar[str] = "learned"

    def __post_init__(self):
        super().__post_init__()
        positive = ("rounds", "drafts", "trajectories", "teacher_steps", "trajectory_batch")
        at_least(1, self, PATH, *positive)
        weights = ("draft_weight", "refine_weight", "end_weight", *self.weights)
        if not any(getattr(self, name) for name in weights):
            raise UserError(f"{PATH}: all of {', '.join(weights)} are 0; nothing is left to learn")
        counts = ("cross_draft_width", "lora_rank")
        at_least(0, self, PATH, *weights, *counts, "on_policy_after", "batch_size_on_policy")
        choose(dict.fromkeys(FORMS), self.form, f"{PATH}.form")
        choose(CROSS_DRAFT, self.cross_draft, f"{PATH}.cross_draft")
        choose(GRADIENTS, self.gradient, f"{PATH}.gradient")
        choose(GRADIENTS, self.gradient_between_rounds, f"{PATH}.gradient_between_rounds")
        choose(DRAFTERS, self.drafter, f"{PATH}.drafter")
        choose(SHARES, self.share, f"{PATH}.share")
        choose(DTYPES, self.trajectory_dtype, f"{PATH}.trajectory_dtype")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftRefineAggressive(DraftRefine):
    """The same with one network that also drafts the next round (`drf_jax.networks.ahead`): one sequential call and
    ``drafts`` steps a round, and one call before the first."""

    family: ClassVar[str] = "learned-aggressive"

    def __post_init__(self):
        super().__post_init__()
        choose({"heads": None}, self.drafter, f"{PATH}.drafter")
        choose({"none": None}, self.share, f"{PATH}.share")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftRefineAnchored(DraftRefineAggressive):
    """The same, but the call also sees the anchor (`drf_jax.sampling.anchored`): one sequential call and ``drafts`` + 1
    steps a round.

    ``reference`` says what a draft's output is: a prediction of its own (``draft``), or a correction of the anchor's
    (``anchor``), so that the student starts as the serial sampler of its source, in as many steps as rounds.
    """

    reference: str = "draft"
    family: ClassVar[str] = "learned-anchored"

    def __post_init__(self):
        super().__post_init__()
        choose(REFERENCES, self.reference, f"{PATH}.reference")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progressive(Distillation):
    """`drf_jax.objectives.progressive`: from a teacher of ``start`` steps, halved until ``last``."""

    start: int = 32
    last: int = 1
    weighting: str = "truncated_snr"
    family: ClassVar[str] = "progressive"

    def __post_init__(self):
        super().__post_init__()
        halvings(self.start, self.last)
        choose(WEIGHTINGS, self.weighting, f"{PATH}.weighting")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Consistency(WithFeatures):
    """What both ways to a consistency function have: a perceptual part of the distance, and its weight."""

    perceptual_weight: float = 0.0
    looking: ClassVar[tuple[str, ...]] = ("perceptual_weight",)

    def __post_init__(self):
        super().__post_init__()
        at_least(0, self, PATH, "perceptual_weight")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConsistencyDistillation(Consistency):
    """`drf_jax.objectives.consistency` with the teacher's ODE step, over ``intervals`` intervals."""

    intervals: int = 17
    solver: str = "heun"
    target: str = "ema"
    proposal: str = "uniform"
    distance: str = "squared"
    weighting: str = "equal"
    sigma_min: float = 2e-3
    family: ClassVar[str] = "consistency-distillation"

    def __post_init__(self):
        super().__post_init__()
        at_least(1, self, PATH, "intervals")
        choose(STEPS, self.solver, f"{PATH}.solver")
        check_consistency(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConsistencyTraining(Consistency):
    """`drf_jax.objectives.consistency` without a teacher's step: its parameters are where the student starts.

    The number of intervals doubles from ``first_intervals`` to ``last_intervals`` during the training. The student
    computes in ``dtype``, its teacher's unless given: in bfloat16, the more the intervals, the more of the difference
    between neighbours is rounding, in float32 less (which multiplies in TF32 on a GPU, unless JAX is told otherwise).
    """

    first_intervals: int = 10
    last_intervals: int = 1280
    dtype: str = ""
    target: str = "stop_gradient"
    proposal: str = "log_normal"
    distance: str = "pseudo_huber"
    weighting: str = "inverse_gap"
    sigma_min: float = 2e-3
    family: ClassVar[str] = "consistency-training"

    def __post_init__(self):
        super().__post_init__()
        at_least(1, self, PATH, "first_intervals")
        at_least(self.first_intervals, self, PATH, "last_intervals")
        if self.dtype:
            choose(dict.fromkeys(COMPUTE_DTYPES), self.dtype, f"{PATH}.dtype")
        check_consistency(self)
        check_unguided(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentConsistency(Distillation):
    """`drf_jax.objectives.latent_consistency`: ``stride`` steps at once of the teacher's ``teacher_steps``."""

    teacher_steps: int = 48
    stride: int = 4
    target: str = "ema"
    distance: str = "huber"
    family: ClassVar[str] = "lcm"

    def __post_init__(self):
        super().__post_init__()
        at_least(2, self, PATH, "teacher_steps")
        choose(TARGETS, self.target, f"{PATH}.target")
        choose(DISTANCES, self.distance, f"{PATH}.distance")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentConsistencyLora(LatentConsistency):
    """The same, training deltas of ``rank`` for the kernels that match ``pattern``, added with ``scale``."""

    rank: int = 16
    scale: float = 1.0
    pattern: str = KERNELS
    family: ClassVar[str] = "lcm-lora"

    def __post_init__(self):
        super().__post_init__()
        at_least(1, self, PATH, "rank")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adversarial(WithFeatures):
    """`drf_jax.objectives.adversarial` of a student that is called at ``steps`` times.

    The discriminator's heads are ``width`` wide, and learn with ``discriminator_learning_rate`` on the maps of a
    classifier.
    """

    steps: int = 4
    distill_weight: float = 2.5
    r1_weight: float = 1e-5
    width: int = 64
    discriminator_learning_rate: float = 1e-3
    family: ClassVar[str] = "adversarial"

    def __post_init__(self):
        super().__post_init__()
        at_least(1, self, PATH, "steps", "width")
        at_least(0, self, PATH, "distill_weight", "r1_weight")

    @property
    def looks(self) -> bool:
        return True


@dataclasses.dataclass(frozen=True, kw_only=True)
class PFGMPP(Distillation):
    """The teacher goes on as a PFGM++ of D = ``dimensions`` (`drf_jax.process.pfgmpp`), by its own objective.

    It is sampled by ``solver``, of the multistep ones.
    """

    dimensions: float = 2048.0
    solver: str = "dpmpp-2m"
    family: ClassVar[str] = "pfgmpp"

    def __post_init__(self):
        super().__post_init__()
        if self.dimensions <= 0:
            raise UserError(f"{PATH}.dimensions = {self.dimensions}: must be positive")
        choose(SOLVERS, self.solver, f"{PATH}.solver")
        check_unguided(self)


def check_unguided(spec: Distillation) -> None:
    """Raise if a student without a teacher is to be shown guidance weights."""
    if spec.guidance != UNGUIDED:
        raise UserError(f"{PATH}.guidance = {spec.guidance}: there is no teacher to guide")


def check_consistency(spec: ConsistencyDistillation | ConsistencyTraining) -> None:
    """Raise unless the names that choose a consistency loss are known."""
    choose(TARGETS, spec.target, f"{PATH}.target")
    choose(PROPOSALS, spec.proposal, f"{PATH}.proposal")
    choose(DISTANCES, spec.distance, f"{PATH}.distance")
    choose(PAIR_WEIGHTINGS, spec.weighting, f"{PATH}.weighting")


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
