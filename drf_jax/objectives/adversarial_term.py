"""Adversarial terms of students of the teacher's walk: two players, one of which learns to tell where rounds end.

The state in which a round ends implies an image (`drf_jax.objectives.perceptual`, equation 1): x̂ = x̂0(x, r_M), and
x̂* = x̂0(x, x*_M), which would have led onto the teacher's path. A squared error makes the student a mean of what it
cannot tell apart, and means are smooth; discriminators D_k on the maps F_k of a frozen classifier see that. With sg "no
gradient":

    L_a = −Σ_k D_k(F_k(x̂)),    no gradient for D                                                      (1)
    L_φ = Σ_k max(0, 1 − D_k(F_k(x̂*))) + max(0, 1 + D_k(F_k(sg x̂))) + γ ‖∇_{F_k} D_k(F_k(x̂*))‖²       (2)

as in adversarial diffusion distillation (`drf_jax.objectives.adversarial`), but what is real is the teacher's and not
the data's: the student is to draw as its teacher does. SDXL-Lightning (Lin et al. 2024, arXiv 2402.13929) is trained
against its teacher's states, too. In the loss, (1) has its weight and (2) the weight 1: neither has a gradient for the
other's player.

``frozen`` holds the ``discriminator``'s parameters, with a gradient (`of_players`), and those of the ``features``
network, which must not be the one that samples are scored with.
"""

import dataclasses

import jax
from jaxtyping import Array, Float

from drf_jax.objectives.adversarial import Features, Maps, discriminator_loss
from drf_jax.objectives.perceptual import implied_x0
from drf_jax.objectives.terms import Walked
from drf_jax.process.schedule import Process
from drf_jax.typing import Metrics, Network, Objective, Params, PerExample, PRNGKey, State


@dataclasses.dataclass(frozen=True)
class Players:
    """What both terms see. ``discriminator`` maps feature maps and conditioning to scores ``[heads, b]``."""

    process: Process
    features: Features
    discriminator: Network

    def maps(self, frozen: Params, walked: Walked, state: State) -> Maps:
        """Of the image that a round's end implies."""
        x, t, u = walked.anchor, walked.times[0], walked.times[-1]
        return self.features(frozen["features"], implied_x0(self.process, x, t, state, u))

    def scores(self, parameters: Params, maps: Maps, walked: Walked) -> Float[Array, "heads b"]:
        return self.discriminator.apply({"params": parameters}, maps, walked.cond)


@dataclasses.dataclass(frozen=True)
class GeneratorLoss:
    """Equation (1) for a round."""

    players: Players

    def __call__(self, frozen: Params, walked: Walked) -> PerExample:
        maps = self.players.maps(frozen, walked, walked.states[-1])
        judge = jax.lax.stop_gradient(frozen["discriminator"])
        return -self.players.scores(judge, maps, walked).sum(0)


@dataclasses.dataclass(frozen=True)
class DiscriminatorLoss:
    """Equation (2) for a round, with γ = ``r1_weight``."""

    players: Players
    r1_weight: float

    def __call__(self, frozen: Params, walked: Walked) -> PerExample:
        maps = lambda state: self.players.maps(frozen, walked, jax.lax.stop_gradient(state))
        score = lambda maps: self.players.scores(frozen["discriminator"], maps, walked)
        real, fake = maps(walked.targets[-1]), maps(walked.states[-1])
        return discriminator_loss(score, real, fake, self.r1_weight)[0]


def of_players(objective: Objective) -> Objective:
    """A student's objective as one of ``{"student": ..., "discriminator": ...}``; its terms find the discriminator's
    parameters in ``frozen``."""

    def both(
        params: Params, frozen: Params, batch: dict, key: PRNGKey
    ) -> tuple[PerExample, Metrics]:
        frozen = {**frozen, "discriminator": params["discriminator"]}
        return objective(params["student"], frozen, batch, key)

    return both
