"""End-point loss: the error of the state in which a round ends.

The next round starts from r_M, or it is the image; drafts and the other refined states are means to it. The main loss
(`drf_jax.objectives.draft_refine`) gives each of the M refined states a share of 1/M. This term adds to the last one's:

    L_e = ‖r_M − x*_M‖² / c(t_0, t_M)²                                                                 (1)
"""

import dataclasses

from drf_jax.objectives.draft_refine import state_loss
from drf_jax.objectives.terms import Walked
from drf_jax.process.schedule import Process
from drf_jax.typing import Params, PerExample


@dataclasses.dataclass(frozen=True)
class EndPoint:
    """Equation (1) for a round."""

    process: Process

    def __call__(self, frozen: Params, walked: Walked) -> PerExample:
        states, targets, times = walked.states[-1:], walked.targets[-1:], walked.times
        return state_loss(self.process, states, targets, times[0], times[-1:])[0]
