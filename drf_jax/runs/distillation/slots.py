"""What the two slots of a draft–refine student are filled with, by the mode and the options of its config.

Each mode starts as the training-free sampler of the same name (`drf_jax.sampling.draft`).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from drf_jax import build
from drf_jax.networks.ahead import AheadNetwork
from drf_jax.networks.correcting import CorrectingNetwork
from drf_jax.networks.cross_draft import CrossDraft
from drf_jax.networks.drafter import DraftNetwork
from drf_jax.networks.network import Backbone
from drf_jax.networks.refiner import RefineNetwork
from drf_jax.networks.target_drafter import TargetDraftNetwork
from drf_jax.networks.transfer import (
    ahead_from_teacher,
    drafter_from_teacher,
    refiner_from_teacher,
    target_drafter_from_teacher,
)
from drf_jax.sampling.anchored import CorrectingRefiner
from drf_jax.sampling.learned import Aggressive, Anchored, Conservative, Student
from drf_jax.typing import Network, Params, PRNGKey


@runtime_checkable
class Mode(Protocol):
    """One way to fill the slots: its name in a row, its networks, and where they start."""

    name: str

    def student(self, backbone: Backbone, spec: build.DraftRefine, **shared: Any) -> Student: ...

    def start(
        self,
        student: Any,
        spec: build.DraftRefine,
        source: Params,
        inputs: Mapping[str, Any],
        key: PRNGKey,
    ) -> Params:
        """The student's parameters that make it the training-free sampler of the source.

        ``inputs`` are those of a network: one state ``x``, its time ``t``, K ``states`` at ``times``, and ``cond``.
        """
        ...

    def calls(self, rounds: int) -> int: ...


@dataclasses.dataclass(frozen=True)
class DrafterKind:
    """A draft network for K drafts, where it starts (fresh parameters, the source's, K), and what its call costs."""

    network: Callable[[Backbone, int], Network]
    start: Callable[[Params, Params, int], Params]
    evaluations: Callable[[int], int]


DRAFTERS: dict[str, DrafterKind] = {
    "heads": DrafterKind(DraftNetwork, drafter_from_teacher, lambda drafts: 1),
    "target": DrafterKind(
        lambda backbone, drafts: TargetDraftNetwork(backbone),
        lambda params, source, drafts: target_drafter_from_teacher(params, source),
        lambda drafts: drafts,
    ),
}


def mixer(backbone: Backbone, spec: build.DraftRefine, states: int) -> CrossDraft | None:
    """The cross-draft attention of a config between so many states."""
    if spec.cross_draft == "none":
        return None
    heads, dtype = backbone.heads, backbone.dtype
    return CrossDraft(states, heads, dtype, spec.cross_draft, spec.cross_draft_width)


class ConservativeMode:
    name = "learned"

    def student(self, backbone, spec, **shared):
        kind = DRAFTERS[spec.drafter]
        drafter, evaluations = kind.network(backbone, spec.drafts), kind.evaluations(spec.drafts)
        refiner = RefineNetwork(backbone, spec.drafts, mixer(backbone, spec, spec.drafts))
        return Conservative(drafter, refiner, evaluations=evaluations, **shared)

    def start(self, student, spec, source, inputs, key):
        x, t, states, times, cond = (inputs[k] for k in ("x", "t", "states", "times", "cond"))
        keys = jax.random.split(key)
        drafter = student.drafter.init(keys[0], x, t, times, cond)["params"]
        refiner = student.refiner.init(keys[1], states, times, cond)["params"]
        return {
            "drafter": DRAFTERS[spec.drafter].start(drafter, source, student.drafts),
            "refiner": refiner_from_teacher(refiner, source),
        }

    def calls(self, rounds):
        return 2 * rounds


class AggressiveMode:
    name = "learned-aggressive"

    def student(self, backbone, spec, **shared):
        return Aggressive(
            AheadNetwork(backbone, spec.drafts, mixer(backbone, spec, spec.drafts)), **shared
        )

    def start(self, student, spec, source, inputs, key):
        states, times, cond = (inputs[k] for k in ("states", "times", "cond"))
        params = student.network.init(key, states, times, cond)["params"]
        return {"network": ahead_from_teacher(params, source, student.drafts)}

    def calls(self, rounds):
        return rounds + 1


class AnchoredMode:
    name = "learned-anchored"

    def student(self, backbone, spec, **shared):
        states = spec.drafts + 1
        mix = mixer(backbone, spec, states)
        if spec.reference == "anchor":
            network = CorrectingNetwork(backbone, spec.drafts, mix)
            return Anchored(network, refiner=CorrectingRefiner, **shared)
        return Anchored(AheadNetwork(backbone, states, mix, spec.drafts), **shared)

    def start(self, student, spec, source, inputs, key):
        before = lambda first, rest: jnp.concatenate([inputs[first][None], inputs[rest]])
        states, times = before("x", "states"), before("t", "times")
        params = student.network.init(key, states, times, inputs["cond"])["params"]
        return {"network": ahead_from_teacher(params, source, student.drafts)}

    def calls(self, rounds):
        return rounds


MODES: dict[type, Mode] = {
    build.DraftRefine: ConservativeMode(),
    build.DraftRefineAggressive: AggressiveMode(),
    build.DraftRefineAnchored: AnchoredMode(),
}
