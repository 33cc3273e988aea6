"""Arrays that a tree has twice, such as the parameters of a network that both drafts and refines, taken once."""

from collections.abc import Callable, Sequence
from typing import Any

import jax


def distinct(tree: Any) -> tuple[list[int], Callable[[Sequence[Any]], Any]]:
    """Indices of the leaves that are different objects, and how to make the tree from one value for each of them."""
    leaves, structure = jax.tree.flatten(tree)
    first: dict[int, int] = {}
    for i, leaf in enumerate(leaves):
        first.setdefault(id(leaf), i)
    chosen = list(first.values())
    place = {i: n for n, i in enumerate(chosen)}
    where = [place[first[id(leaf)]] for leaf in leaves]
    return chosen, lambda values: jax.tree.unflatten(structure, [values[n] for n in where])
