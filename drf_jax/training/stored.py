"""What a stored checkpoint is: whole or damaged, and of which architecture. One-line errors for both."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jaxtyping import PyTree

from drf_jax.address import naming
from drf_jax.errors import UserError
from drf_jax.training.checksums import is_whole
from drf_jax.typing import Folder

T = TypeVar("T")
Shapes = dict[str, tuple[int, ...]]


class Damaged(UserError):
    """A checkpoint that cannot be read."""

    def __init__(self, folder: Folder):
        super().__init__(
            f"checkpoint {folder} (step {folder.name}) cannot be read: truncated or damaged;"
            " nothing was deleted"
        )


def missing(
    directory: Folder, step: int | None = None, steps: list[int] | None = None
) -> UserError:
    """The error for a checkpoint that is not there."""
    if step is None:
        return UserError(f"no checkpoint in {directory}")
    found = ", ".join(map(str, sorted(steps or []))) or "none"
    return UserError(f"no checkpoint of step {step} in {directory}; there: {found}")


def shapes(tree: PyTree) -> Shapes:
    """Path of each leaf, such as ``params/Dense_0/kernel``, to its shape."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    return {name: tuple(leaf.shape) for name, (_, leaf) in zip(names, leaves, strict=True)}


def stored_shapes(manager: ocp.CheckpointManager, folder: Folder) -> Shapes:
    """The shapes of every leaf of a checkpoint whose files are all as they were written.

    Raises:
      Damaged: they are not. The first process looks, and all raise together.
    """
    whole = jax.process_index() > 0 or is_whole(folder)
    if jax.process_count() > 1:
        whole = bool(multihost_utils.broadcast_one_to_all(np.bool_(whole)))
    if not whole:
        raise Damaged(folder)
    return reading(lambda: shapes(manager.item_metadata(int(folder.name)).tree), folder)


def reading(read: Callable[[], T], folder: Folder) -> T:
    """What ``read`` makes of a checkpoint. At an address it is asked twice, as a storage may fail for once.

    Raises:
      Damaged: it cannot be read.
      UserError: the storage does not answer.
    """
    try:
        try:
            return read()
        except Exception:
            if isinstance(folder, Path):
                raise
            with naming(folder):
                if not folder.exists():
                    raise
            return read()
    except UserError:
        raise
    except Exception as error:
        raise Damaged(folder) from error


def check_architecture(stored: Shapes, target: PyTree, folder: Folder) -> None:
    """Raise, naming the first leaf that differs, unless the checkpoint has the target's leaves."""
    wanted = shapes(target)
    for name in [*wanted, *(name for name in stored if name not in wanted)]:
        if wanted.get(name) != stored.get(name):
            raise UserError(
                f"checkpoint {folder} is of another architecture: {name} is"
                f" {stored.get(name, 'absent')} in the file and {wanted.get(name, 'absent')} in"
                " this model"
            )
