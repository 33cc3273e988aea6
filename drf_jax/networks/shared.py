"""One set of weights for what the draft and the refine network have in common.

Both start as the teacher, with its names and shapes. With P the parameters of either network by their paths,

    shared = what is in P_drafter and P_refiner,      P_i = shared ∪ own_i      for i in drafter, refiner

so what is trained is a tree with the shared parameters once. They are those of embedding and trunk, and of the head
where the drafter has no heads of its own.
"""

from flax.traverse_util import flatten_dict, unflatten_dict

from drf_jax.typing import Params

NETWORKS = ("drafter", "refiner")


def share(params: Params) -> Params:
    """``{"drafter", "refiner"}`` that are equal in what both have -> ``{"shared", "drafter", "refiner"}``; a network
    without anything of its own is left out."""
    flat = {name: flatten_dict(params[name]) for name in NETWORKS}
    common = set.intersection(*map(set, flat.values()))
    parts = {name: {p: tree[p] for p in tree if p not in common} for name, tree in flat.items()}
    parts["shared"] = {path: flat["drafter"][path] for path in common}
    return {name: unflatten_dict(tree) for name, tree in parts.items() if tree}


def unshare(params: Params) -> Params:
    """The networks' parameters of what `share` made."""
    common = flatten_dict(params["shared"])
    own = {name: flatten_dict(params.get(name, {})) for name in NETWORKS}
    return {name: unflatten_dict({**common, **tree}) for name, tree in own.items()}
