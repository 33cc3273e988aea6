"""The learned draft–refine systems without their parameters: which networks fill the sampler's two slots.

`Conservative`  parameters ``{"drafter", "refiner"}``; a round is two sequential calls and takes K + 1 steps.
`Aggressive`    parameters ``{"network"}``, of one network in both slots; one call and K steps, and one call before.
`Anchored`      the same, but one call and K + 1 steps, and no call before.
"""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from drf_jax.process.prediction import expand
from drf_jax.process.schedule import Process
from drf_jax.sampling.ahead import AheadDrafter, AheadRefiner
from drf_jax.sampling.anchored import CorrectingRefiner, LookaheadDrafter
from drf_jax.sampling.draft import Drafter, LearnedDrafter
from drf_jax.sampling.refine import LearnedRefiner, Refiner
from drf_jax.typing import Cond, Drafts, Network, Params, Times


@runtime_checkable
class Student(Protocol):
    """``form`` is the reuse step; ``steps`` are those of a round."""

    process: Process
    form: str
    drafts: int

    @property
    def steps(self) -> int: ...

    def slots(self, params: Params) -> tuple[Drafter, Refiner]:
        """The sampler's two slots, filled."""
        ...

    @property
    def before(self) -> tuple[int, ...]:
        """What the call before a round evaluates, as numbers of nodes counted from the round's anchor."""
        ...

    def memory(
        self, params: Params, states: Drafts, times: Times, first: Bool[Array, "b"], cond: Cond
    ) -> Any:
        """The drafter's memory after a call at the ``states`` ``[k, b, *state]`` of ``before``.

        Copies of the noise at the first time stand for what is before it; ``first`` says where the round is the first.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Conservative:
    drafter: Network
    refiner: Network
    process: Process
    output: str
    form: str
    drafts: int
    evaluations: int = 1
    """Of the drafter's call."""

    @property
    def steps(self) -> int:
        return self.drafts + 1

    def slots(self, params: Params) -> tuple[LearnedDrafter, LearnedRefiner]:
        shared = (self.process, self.output)
        return (
            LearnedDrafter(params["drafter"], self.drafter, *shared, self.evaluations),
            LearnedRefiner(params["refiner"], self.refiner, *shared),
        )

    @property
    def before(self):
        return (0,)

    def memory(self, params, states, times, first, cond):
        return ()


@dataclasses.dataclass(frozen=True)
class Aggressive:
    network: Network
    process: Process
    output: str
    form: str
    drafts: int

    @property
    def steps(self) -> int:
        return self.drafts

    def slots(self, params: Params) -> tuple[AheadDrafter, AheadRefiner]:
        refiner = AheadRefiner(params["network"], self.network, self.process, self.output)
        return AheadDrafter(refiner, self.drafts, self.form), refiner

    @property
    def before(self):
        return tuple(range(1 - self.drafts, 1))

    def memory(self, params, states, times, first, cond):
        drafter, refiner = self.slots(params)
        return drafter.remember(None, times, refiner(states, times, cond))


@dataclasses.dataclass(frozen=True)
class Anchored:
    network: Network
    process: Process
    output: str
    form: str
    drafts: int
    refiner: type[AheadRefiner] | type[CorrectingRefiner] = AheadRefiner
    """What reads the network's outputs."""

    @property
    def steps(self) -> int:
        return self.drafts + 1

    def slots(self, params: Params) -> tuple[LookaheadDrafter, Refiner]:
        refiner = self.refiner(params["network"], self.network, self.process, self.output)
        return LookaheadDrafter(refiner, self.drafts, self.form), refiner

    @property
    def before(self):
        return tuple(range(-self.steps, 0))

    def memory(self, params, states, times, first, cond):
        drafter, refiner = self.slots(params)
        fresh = drafter.start(states[0], times[0], cond)
        made = drafter.remember(None, times, refiner(states, times, cond))
        return jax.tree.map(lambda a, b: jnp.where(expand(first, a[0]), a, b), fresh, made)
