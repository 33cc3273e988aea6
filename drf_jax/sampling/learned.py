"""The learned draft–refine systems without their parameters: which networks fill the sampler's two slots.

`Conservative`  parameters ``{"drafter", "refiner"}``; a round is two sequential calls and takes K + 1 steps.
`Aggressive`    parameters ``{"network"}``, of one network in both slots; one call and K steps, and one call before.
"""

import dataclasses
from typing import Any, Protocol, runtime_checkable

from drf_jax.process.schedule import Process
from drf_jax.sampling.ahead import AheadDrafter, AheadRefiner
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

    def memory(self, params: Params, states: Drafts, times: Times, cond: Cond) -> Any:
        """The drafter's memory after a call at the ``states`` ``[k, b, *state]`` that lead up to an anchor.

        K copies of the noise at the first time stand for what is before it.
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

    def memory(self, params, states, times, cond):
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

    def memory(self, params, states, times, cond):
        drafter, refiner = self.slots(params)
        return drafter.remember(None, times, refiner(states, times, cond))
