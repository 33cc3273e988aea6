"""Low-rank deltas of a parameter tree (LoRA: Hu et al. 2021, arXiv 2106.09685; for convolutions too).

A kernel W, Dense ``[in, out]`` or convolution ``[h, w, in, out]``, is changed by a product that is added to it,

    W' = W + s A B,      A [..., in, r],  B [r, out],    r small                                       (1)

For a convolution A B is a convolution to r channels, then a product to the outputs. B starts at zero, so nothing
changes at first. The deltas are a tree of their own, ``{path: {"a": A, "b": B}}`` in the places of the kernels they
belong to; networks never know of them. Merging adds (1), unmerging subtracts it, and several deltas (one that makes
the network fast, one that gives a style) are one delta of the summed rank:

    Σ_i s_i A_i B_i = [s_1 A_1, s_2 A_2, …] [B_1; B_2; …]                                              (2)
"""

import math
import re
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import ArrayLike

from drf_jax.errors import UserError
from drf_jax.typing import Objective, Params, PRNGKey

KERNELS = r"kernel$"
"""Every kernel of a network, and no biases, tables or norms."""

RANK_AXIS = {"a": -1, "b": 0}


def init_lora(params: Params, pattern: str, rank: int, key: PRNGKey) -> Params:
    """Deltas that change nothing: A normal with variance 1 / (its inputs), B zero.

    Args:
      params: the network's parameters, nested dicts.
      pattern: regular expression, searched for in a leaf's path (``trunk/block_0/mlp_in/kernel``); `KERNELS` is all.
      rank: r, at least 1; a kernel with fewer inputs or outputs than that gets no more than it has.

    Raises:
      UserError: the rank is below 1, no leaf matches, or one with fewer than two axes does.
    """
    if rank < 1:
        raise UserError(f"lora: rank = {rank}: must be at least 1")
    flat = flatten_dict(params, sep="/")
    chosen = [path for path in sorted(flat) if re.search(pattern, path)]
    if not chosen:
        raise UserError(f"lora: no parameter matches {pattern!r}; one of them is {min(flat)}")
    deltas = {}
    for i, path in enumerate(chosen):
        *inputs, outputs = flat[path].shape
        if not inputs:
            raise UserError(
                f"lora: {path} has the shape {flat[path].shape}; only kernels can be low-rank"
            )
        r, dtype = min(rank, math.prod(inputs), outputs), flat[path].dtype
        a = jax.random.normal(jax.random.fold_in(key, i), (*inputs, r), dtype)
        deltas[f"{path}/a"] = a / math.sqrt(math.prod(inputs))
        deltas[f"{path}/b"] = jnp.zeros((r, outputs), dtype)
    return unflatten_dict(deltas, sep="/")


def merge(params: Params, lora: Params, scale: ArrayLike = 1.0) -> Params:
    """Equation (1) at every kernel that has a delta; other leaves are passed on.

    Raises:
      UserError: a delta belongs to a kernel of another shape, or to none.
    """
    merged, deltas = flatten_dict(params, sep="/"), flatten_dict(lora, sep="/")
    for path in sorted({name.rpartition("/")[0] for name in deltas}):
        a, b = deltas[f"{path}/a"], deltas[f"{path}/b"]
        shape = (*a.shape[:-1], b.shape[-1])
        here = merged[path].shape if path in merged else "absent"
        if here != shape:
            raise UserError(
                f"lora of another architecture: {path} is {shape} there and {here} here"
            )
        merged[path] = merged[path] + (scale * (a @ b)).astype(merged[path].dtype)
    return unflatten_dict(merged, sep="/")


def unmerge(params: Params, lora: Params, scale: ArrayLike = 1.0) -> Params:
    """The parameters before `merge`, up to rounding."""
    return merge(params, lora, -scale)


def compose(loras: Sequence[tuple[Params, float]]) -> Params:
    """Deltas with their scales as one, equation (2): merging it with scale 1 is merging each in turn.

    Raises:
      UserError: two deltas of one kernel do not fit.
    """
    joined: dict[str, jax.Array] = {}
    for lora, scale in loras:
        for path, leaf in flatten_dict(lora, sep="/").items():
            axis = RANK_AXIS[path[-1]]
            leaf = leaf * scale if axis else leaf  # the scale goes into A
            if path in joined:
                before = joined[path]
                kept = [x.shape[:-1] if axis else x.shape[1:] for x in (before, leaf)]
                if kept[0] != kept[1]:
                    raise UserError(f"lora: {path} has the shapes {before.shape} and {leaf.shape}")
                leaf = jnp.concatenate([before, leaf], axis)
            joined[path] = leaf
    return unflatten_dict(joined, sep="/")


def with_lora(objective: Objective, scale: float = 1.0) -> Objective:
    """The objective of the deltas alone: ``params`` are deltas, ``frozen["base"]`` what they are added to.

    An EMA target (``frozen["target"]``), which is then an average of deltas, is merged as well.
    """

    def low_rank(params, frozen, batch, key):
        full = lambda lora: merge(frozen["base"], lora, scale)
        rest = {name: tree for name, tree in frozen.items() if name != "base"}
        if "target" in rest:
            rest["target"] = full(rest["target"])
        return objective(full(params), rest, batch, key)

    return low_rank
