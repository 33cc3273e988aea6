"""Options of the learned draft–refine methods."""

import dataclasses
from typing import ClassVar

from drf_jax.build.distillation.base import PATH
from drf_jax.build.distillation.walk import DTYPES, WithTerms
from drf_jax.config import at_least, choose
from drf_jax.errors import UserError
from drf_jax.networks.cross_draft import PLACES
from drf_jax.objectives.draft_refine import GRADIENTS
from drf_jax.sampling.transition import FORMS

CROSS_DRAFT = dict.fromkeys((*PLACES, "none"))
DRAFTERS = dict.fromkeys(("heads", "target"))
REFERENCES = dict.fromkeys(("draft", "anchor"))
SHARES = dict.fromkeys(("none", "trunk"))


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
