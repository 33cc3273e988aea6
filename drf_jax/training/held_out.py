"""How good a state is while it trains: the loss of its averaged parameters on examples that it never saw.

With n batches x_j that are held out, keys k_j = fold_in(k, j), the averaged parameters θ̄ and the loss ℓ of one example,

    H(θ̄) = (1 / nB) Σ_j Σ_b ℓ_b(θ̄; x_j, k_j)                                                     (1)

Batches and keys are the same at every checkpoint, so two values differ by the parameters alone: the noise that makes a
training loss useless for ranking is common to both, and cancels.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from drf_jax.sharding import gather, shard_batch
from drf_jax.typing import Objective, Params, PRNGKey


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """``loss``, after every ``every``-th update and after the last."""

    loss: Callable[[Params], float]
    every: int

    def due(self, step: int, steps: int) -> bool:
        """Whether it is measured after ``step`` of ``steps`` updates."""
        return step % self.every == 0 or step == steps


def held_out_loss(
    objective: Objective, batches: Callable[[int], PyTree], count: int, key: PRNGKey, mesh: Mesh
) -> Callable[[Params], float]:
    """Equation (1) as a function of the parameters, laid out on ``mesh`` in any way; they are not donated.

    Args:
      objective: reads no frozen parameters.
      batches: this process's rows of held-out batch j.
      count: batches n, at least 1.
      key: k.
    """

    def mean(params, batch, key):
        loss, _ = objective(gather(params), None, batch, key)
        return jnp.mean(loss, dtype=jnp.float32)

    mean = jax.jit(mean, out_shardings=NamedSharding(mesh, P()))

    def loss(params: Params) -> float:
        with jax.set_mesh(mesh):
            parts = [
                mean(params, shard_batch(batches(j), mesh), jax.random.fold_in(key, j))
                for j in range(count)
            ]
        return sum(map(float, parts)) / count

    return loss
