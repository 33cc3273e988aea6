"""One update: mean of the per-example losses, gradient, optimizer, average of the parameters.

With g the gradient of the batch mean and θ the parameters, update t = 0, 1, … is

    θ ← θ + optimizer(g),    ema ← d_t ema + (1 − d_t) θ,    d_t = min(decay, (1 + t)/(10 + t))  (1)

so the average forgets its random start quickly. An update whose loss or gradient is not finite is skipped: with
|g| the gradient's global norm, the new state, t included, is

    state ← new state where L and |g| are finite, else the old state                                (2)

``accumulate=n`` splits the batch in n interleaved
microbatches (microbatch i is rows i, i+n, …: every device keeps its own rows) and averages their
gradients, with key ``fold_in(key, i)``. It is a Python loop, not a scan: XLA runs convolutions
inside a scan very slowly on CPU.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int, PyTree

from drf_jax.errors import UserError
from drf_jax.sharding import BATCH, without_batch
from drf_jax.training.state import TrainState
from drf_jax.typing import Metrics, Objective, Params, PRNGKey

TrainStep = Callable[[TrainState, Params, PyTree, PRNGKey], tuple[TrainState, Metrics]]


def ema_decay_at(decay: float, step: Int[Array, ""]) -> Float[Array, ""]:
    """d_t of (1)."""
    t = step.astype(jnp.float32)
    return jnp.minimum(decay, (1.0 + t) / (10.0 + t))


def microbatch(batch: PyTree[Array], i: int, n: int) -> PyTree[Array]:
    """Rows ``i, i+n, i+2n, …`` of every leaf ``[b, ...]``: ``[b/n, ...]``.

    Raises:
      UserError: n does not divide b.
    """

    def rows(leaf):
        if leaf.shape[0] % n:
            raise UserError(f"accumulate: {n} does not divide the batch of {leaf.shape[0]}")
        return leaf.reshape(leaf.shape[0] // n, n, *leaf.shape[1:])[:, i]

    return jax.tree.map(rows, batch)


def make_train_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    ema_decay: float = 0.999,
    accumulate: int = 1,
) -> TrainStep:
    """The pure ``step(state, frozen, batch, key) -> (state, metrics)``; see :func:`jit_step`.

    The metrics are scalars: the objective's own (means), ``loss``, ``grad_norm`` (before clipping).
    ``state.step`` counts the updates that were not skipped (2).
    """

    def mean_loss(params, frozen, batch, key):
        per_example, aux = objective(params, frozen, batch, key)
        return jnp.mean(per_example), jax.tree.map(jnp.mean, aux)

    def step(state, frozen, batch, key):
        grad = jax.value_and_grad(mean_loss, has_aux=True)
        parts = [
            grad(state.params, frozen, microbatch(batch, i, accumulate), jax.random.fold_in(key, i))
            for i in range(accumulate)
        ]
        (loss, aux), grads = jax.tree.map(lambda *leaves: sum(leaves) / accumulate, *parts)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        d_t = ema_decay_at(ema_decay, state.step)
        ema = optax.incremental_update(params, state.ema, 1.0 - d_t)
        norm = optax.global_norm(grads)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        new = TrainState(state.step + 1, params, ema, opt_state)
        new = jax.tree.map(lambda new, old: jnp.where(finite, new, old), new, state)
        return new, {**aux, "loss": loss, "grad_norm": norm}

    return step


def jit_step(step: TrainStep, mesh: Mesh, state_shardings: PyTree) -> TrainStep:
    """Compile a step for the mesh. The state is donated (never use it again), ``frozen`` is not.

    ``frozen`` keeps the layout it comes with: place it once with ``shard_tree``. What is split over the axes of the
    examples (``fsdp``) is gathered first and each device computes with its own examples and whole parameters: left to
    itself, XLA sometimes moves the examples instead.
    """
    replicated = NamedSharding(mesh, P())
    whole = jax.tree.map(
        lambda at: NamedSharding(mesh, without_batch(at.spec)), state_shardings.params
    )
    gathers = whole != state_shardings.params

    def gathered(state, frozen, batch, key):
        if gathers:
            params = jax.lax.with_sharding_constraint(state.params, whole)
            state = dataclasses.replace(state, params=params)
            frozen = jax.lax.with_sharding_constraint(frozen, replicated)
        return step(state, frozen, batch, key)

    return jax.jit(
        gathered,
        in_shardings=(state_shardings, None, NamedSharding(mesh, BATCH), replicated),
        out_shardings=(state_shardings, replicated),
        donate_argnums=0,
    )
