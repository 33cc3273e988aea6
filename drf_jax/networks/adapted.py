"""Networks of low rank: deltas of what they start with, and all of what is their own.

A student's parameters P are of two kinds. B has a counterpart in the network that it starts as: embedding, trunk, head.
The rest, O, is the student's own: its heads for drafts, what is made of target times, cross-draft attention, the input
for the guidance weight. Trained are deltas of B's kernels (`lora`, equation 1) and O as it is, B is frozen:

    trained = {"lora": (A, B'), "own": O},      P = merge(B, (A, B')) ∪ O                              (1)

so before training P is what it would be without.
"""

import re

from flax.traverse_util import flatten_dict, unflatten_dict

from drf_jax.networks.lora import KERNELS, init_lora, merge
from drf_jax.typing import Params, PRNGKey

OWN = r"(^|/)(heads|ahead|targets?|mix_\d+|guidance)/"
"""Paths of O."""


def split(params: Params) -> tuple[Params, Params]:
    """B and O."""
    flat = flatten_dict(params, sep="/")
    own = {path: leaf for path, leaf in flat.items() if re.search(OWN, path)}
    base = {path: leaf for path, leaf in flat.items() if path not in own}
    return unflatten_dict(base, sep="/"), unflatten_dict(own, sep="/")


def adapt(params: Params, rank: int, key: PRNGKey) -> Params:
    """What is trained of such parameters, before it is."""
    base, own = split(params)
    return {"lora": init_lora(base, KERNELS, rank, key), "own": own}


def adapted(base: Params, trained: Params) -> Params:
    """P of equation (1)."""
    merged = flatten_dict(merge(base, trained["lora"]))
    return unflatten_dict({**merged, **flatten_dict(trained["own"])})
