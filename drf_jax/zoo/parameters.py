"""Parameters as one compressed file, rounded to bfloat16; the arrays have the names of their paths in the tree."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from drf_jax.atomic import replacing
from drf_jax.errors import UserError
from drf_jax.evaluation.weights_file import read_npz
from drf_jax.typing import Params


def save_parameters(path: str | os.PathLike, params: Params) -> None:
    """Write ``params`` to ``path`` (.npz)."""
    # npz knows no bfloat16, but its bits.
    arrays = {
        name: np.asarray(leaf).astype(jnp.bfloat16).view(np.uint16)
        for name, leaf in named(params).items()
    }
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)


def fits(params: Params) -> bool:
    """Whether rounding leaves them as they are: those of a packed model."""
    same = lambda leaf: np.array_equal(
        leaf, np.asarray(leaf).astype(jnp.bfloat16).astype(leaf.dtype)
    )
    return all(map(same, jax.tree.leaves(params)))


def load_parameters(path: str | os.PathLike, shapes: Params) -> Params:
    """The parameters of a file in a tree of ``jax.ShapeDtypeStruct``, whose dtypes they get.

    Raises:
      UserError: the file is missing or damaged, or holds the parameters of another network.
    """
    stored, wanted = read_npz(path), named(shapes)
    for name in sorted(stored.keys() ^ wanted.keys()):
        raise UserError(
            f"{os.fspath(path)} holds another network: {name} is only in"
            f" {'the file' if name in stored else 'the one that its model.json describes'}"
        )
    for name, shape in wanted.items():
        if stored[name].shape != shape.shape or stored[name].dtype != np.uint16:
            raise UserError(
                f"{os.fspath(path)} holds another network: {name} is {stored[name].dtype}"
                f" {stored[name].shape}, not bfloat16 {shape.shape}"
            )
    leaves = [jnp.asarray(stored[k].view(jnp.bfloat16), s.dtype) for k, s in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def named(tree: Params) -> dict[str, Any]:
    """The leaves in their order, by name: ``drafter/params/dense/kernel``."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
