"""Conditioning drop-out: one network learns the conditional and the unconditional model (Ho & Salimans 2022).

    c <- ∅  with probability p, for each example and for all of its conditioning at once                (1)

Label and caption are dropped together, because guidance contrasts all of the conditioning with none of it: a mixture of
a known style and no caption is never asked for, and learning it would take examples from the two that are.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from drf_jax.typing import Cond, PRNGKey


def drop_condition(
    cond: Cond, key: PRNGKey, probability: float, null: Mapping[str, jax.Array]
) -> Cond:
    """Equation (1); ``null`` is the empty conditioning of one sample, and what it lacks is kept."""
    dropped = jax.random.bernoulli(key, probability, jax.tree.leaves(cond)[0].shape[:1])

    def drop(name, leaf):
        chosen = dropped.reshape(-1, *[1] * (leaf.ndim - 1))
        return jnp.where(chosen, null[name], leaf) if name in null else leaf

    return {name: drop(name, leaf) for name, leaf in cond.items()}
