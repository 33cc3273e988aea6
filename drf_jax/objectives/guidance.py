"""Guided distillation: the guidance weight is an input of the student (Meng et al. 2023; Luo et al. 2023).

The teacher of a student that is shown the weight w is the guided teacher, one weight for each example:

    p_w = p(x, ∅) + w (p(x, c) − p(x, ∅))                                                              (1)

(w = 1 is the conditional model, as in `drf_jax.sampling.guidance`). The weight travels in the conditioning, under the
key ``"guidance"``: the student's network reads it there, and `GuidedModel` takes it out before its own network is
called. `AtWeight` puts one weight there for sampling.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax import pytree
from drf_jax.denoiser import DenoiserLike
from drf_jax.objectives.model import Model
from drf_jax.process.prediction import Prediction, expand
from drf_jax.typing import Cond, Objective, Params, State, Time

KEY = "guidance"


@pytree.register
@dataclasses.dataclass(frozen=True)
class GuidedByCond:
    """Equation (1) with w = ``cond["guidance"]`` ``[b]``. ``null`` is the empty conditioning of one sample."""

    denoiser: DenoiserLike
    null: dict[str, jax.Array]

    def __call__(self, x: State, t: Time, cond: Cond = None) -> Prediction:
        present = {name: leaf for name, leaf in cond.items() if name != KEY}
        absent = {
            name: jnp.broadcast_to(self.null[name], leaf.shape).astype(leaf.dtype)
            if name in self.null
            else leaf
            for name, leaf in present.items()
        }
        both = lambda a, b: jnp.concatenate([a, b])
        p = self.denoiser(both(x, x), both(t, t), jax.tree.map(both, present, absent))
        w, b = expand(cond[KEY], x), len(x)
        return jax.tree.map(lambda leaf: leaf[b:] + w * (leaf[:b] - leaf[b:]), p)


@dataclasses.dataclass(frozen=True)
class GuidedModel:
    """The model whose denoiser is `GuidedByCond`; ``null`` as there."""

    model: Model
    null: dict[str, jax.Array]

    def __call__(self, params: Params) -> GuidedByCond:
        return GuidedByCond(self.model(params), self.null)


@pytree.register
@dataclasses.dataclass(frozen=True)
class AtWeight:
    """A denoiser that reads the weight in its conditioning, shown the same one always."""

    denoiser: DenoiserLike
    weight: Float[Array, ""]

    def __call__(self, x: State, t: Time, cond: Cond = None) -> Prediction:
        w = jnp.full(len(x), self.weight, x.dtype)
        return self.denoiser(x, t, {**(cond or {}), KEY: w})


def with_guidance(objective: Objective, low: float, high: float) -> Objective:
    """The objective on batches whose conditioning is given a weight, uniform in [low, high], for each example."""

    def guided(params, frozen, batch, key):
        weight_key, key = jax.random.split(key)
        example = jax.tree.leaves({name: batch[name] for name in batch if name != "cond"})[0]
        w = jax.random.uniform(weight_key, example.shape[:1], minval=low, maxval=high)
        cond = {**(batch["cond"] or {}), KEY: w}
        return objective(params, frozen, {**batch, "cond": cond}, key)

    return guided
