"""Checkpoints: Orbax with this library's conventions and one-line errors.

``DIR/<step>/`` holds one ``TrainState``. A step appears under its name only when it is complete,
so a killed run leaves nothing that looks like a checkpoint. ``save`` returns when the files are on
disk: the state may then be donated. A checkpoint is independent of the mesh: the arrays come back
in the layout of the target that is passed in. ``sizes.json`` beside the state holds the sizes of its
files, so that a file that was cut off is noticed also by a reader who needs other parts of it.
"""

import json
import os
from logging import ERROR
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jaxtyping import PyTree

from drf_jax.atomic import replacing
from drf_jax.errors import UserError
from drf_jax.training.state import TrainState
from drf_jax.typing import Params

# Orbax reports every save and restore through absl; what fails comes back as an exception anyway.
logging.get_absl_logger().addFilter(
    lambda record: record.levelno >= ERROR or "orbax" not in record.pathname
)


SIZES = "sizes.json"


def abstract(tree: PyTree) -> PyTree:
    """Shapes, dtypes and shardings of a tree of arrays: the target of a restore."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), tree
    )


class Checkpoints:
    """The newest ``keep`` training states in a directory, which is made. A context manager."""

    def __init__(self, directory: str | os.PathLike, keep: int = 2):
        self.directory = Path(directory).absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=True, enable_async_checkpointing=False
        )
        self._manager = ocp.CheckpointManager(
            self.directory, options=options, item_handlers=ocp.StandardCheckpointHandler()
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._manager.close()

    def latest(self) -> int | None:
        """The newest complete step, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState) -> None:
        """Write the state after ``step`` updates; a checkpoint that is there already stays."""
        if step not in self._manager.all_steps():
            self._manager.save(step, args=ocp.args.StandardSave(state), force=True)
            if jax.process_index() == 0:
                _write_sizes(self.directory / str(step))

    def restore(self, target: TrainState, step: int | None = None) -> TrainState:
        """The state of ``step`` (default: the newest), laid out as ``target`` (:func:`abstract`).

        Raises:
          UserError: there is none, it cannot be read, or it belongs to another architecture.
        """
        step = _existing_step(self._manager, self.directory, step)
        stored = _stored_shapes(self._manager, self.directory, step)
        _check_architecture(stored, target, self.directory, step)
        try:
            return self._manager.restore(step, args=ocp.args.StandardRestore(target))
        except Exception as error:
            raise _unreadable(self.directory, step) from error


def load_ema(directory: str | os.PathLike, abstract_params: Params) -> Params:
    """Only the averaged parameters of the newest checkpoint, e.g. as a teacher or for sampling.

    ``abstract_params``: a tree of ``jax.ShapeDtypeStruct``, with or without shardings; without,
    the arrays come back uncommitted on the default device.

    Raises:
      UserError: as :meth:`Checkpoints.restore`.
    """
    directory = Path(directory).absolute()
    if not directory.is_dir():
        raise _missing(directory)
    target = {"ema": abstract_params}
    options = ocp.CheckpointManagerOptions(create=False, read_only=True)
    handler = ocp.PyTreeCheckpointHandler()
    with ocp.CheckpointManager(directory, options=options, item_handlers=handler) as manager:
        step = _existing_step(manager, directory, None)
        stored = _stored_shapes(manager, directory, step)
        stored = {name: shape for name, shape in stored.items() if name.split("/")[0] == "ema"}
        _check_architecture(stored, target, directory, step)
        try:
            args = ocp.args.PyTreeRestore(
                target, restore_args=jax.tree.map(_restore_args, target), partial_restore=True
            )
            ema = manager.restore(step, args=args)["ema"]
        except Exception as error:
            raise _unreadable(directory, step) from error
    return jax.tree.map(jnp.asarray, ema)


def _restore_args(leaf):
    if getattr(leaf, "sharding", None) is None:
        return ocp.RestoreArgs(restore_type=np.ndarray, dtype=leaf.dtype)
    return ocp.ArrayRestoreArgs(sharding=leaf.sharding, dtype=leaf.dtype)


def _existing_step(manager, directory, step):
    steps = manager.all_steps()
    if step is None and steps:
        return max(steps)
    if step not in steps:
        raise _missing(directory, step, steps)
    return step


def _write_sizes(folder):
    files = {str(f.relative_to(folder)): f.stat().st_size for f in folder.rglob("*") if f.is_file()}
    with replacing(folder / SIZES) as file:
        file.write(json.dumps(files).encode())


def _is_whole(folder):
    note = folder / SIZES
    sizes = json.loads(note.read_text()) if note.exists() else {}
    return all((folder / name).stat().st_size == size for name, size in sizes.items())


def _stored_shapes(manager, directory, step):
    try:
        whole = _is_whole(directory / str(step))
        shapes = _shapes(manager.item_metadata(step).tree)
    except Exception as error:
        raise _unreadable(directory, step) from error
    if not whole:
        raise _unreadable(directory, step)
    return shapes


def _shapes(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    return {name: tuple(leaf.shape) for name, (_, leaf) in zip(names, leaves, strict=True)}


def _check_architecture(stored, target, directory, step):
    wanted = _shapes(target)
    for name in [*wanted, *(name for name in stored if name not in wanted)]:
        if wanted.get(name) != stored.get(name):
            raise UserError(
                f"checkpoint {directory / str(step)} is of another architecture: {name} is"
                f" {stored.get(name, 'absent')} in the file and {wanted.get(name, 'absent')} in"
                " this model"
            )


def _missing(directory, step=None, steps=()):
    if step is None:
        return UserError(f"no checkpoint in {directory}")
    found = ", ".join(map(str, sorted(steps))) or "none"
    return UserError(f"no checkpoint of step {step} in {directory}; there: {found}")


def _unreadable(directory, step):
    return UserError(
        f"checkpoint {directory / str(step)} (step {step}) cannot be read: truncated or damaged;"
        " nothing was deleted, move it away to use an older one"
    )
