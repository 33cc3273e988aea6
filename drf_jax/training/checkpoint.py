"""Checkpoints: Orbax with this library's conventions and one-line errors.

``DIR/<step>/`` holds one ``TrainState``. It is written in the background, from a copy that is taken before ``save``
returns (the state may then be donated), and it appears under its name only when it is complete, so a killed run leaves
nothing that looks like a checkpoint. A checkpoint is independent of the mesh: the arrays come back in the layout of
the target that is passed in.

Inside is a list of its files' checksums (`checksums`). A newest checkpoint that is damaged is named on stderr and
skipped for the one before; a run that goes on from there first renames it to ``<step>.damaged``. It is never deleted.
The newest ``keep`` stay and, beside them, the best ``keep_best`` of those that were saved with a score (`best`).

Those of a run at an address (`drf_jax.address`) are there: complete once Orbax has marked them so, without a list of
checksums, as the storage has its own.
"""

import contextlib
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jaxtyping import PyTree

from drf_jax.address import naming, there
from drf_jax.errors import UserError
from drf_jax.training.best import KeepBest, ranked, read_scores, write_score
from drf_jax.training.checksums import write_checksums
from drf_jax.training.state import TrainState
from drf_jax.training.stored import (
    Damaged,
    check_architecture,
    missing,
    reading,
    stored_shapes,
)
from drf_jax.typing import Folder, Params

T = TypeVar("T")
Which = Literal["latest", "best"] | int
"""A checkpoint: the newest, the one with the best score, or that of a step."""

# Orbax reports every save and restore through absl; what fails comes back as an exception anyway.
logging.get_absl_logger().addFilter(lambda record: "orbax" not in record.pathname)


def abstract(tree: PyTree) -> PyTree:
    """Shapes, dtypes and shardings of a tree of arrays: the target of a restore."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), tree
    )


class Checkpoints:
    """The newest ``keep`` training states in a directory, which is made, and the best ones. A context manager.

    There is one writer at a time (`drf_jax.lock`), so what an earlier one left unfinished is removed.
    """

    def __init__(self, directory: str | os.PathLike, keep: int = 2, keep_best: int = 0):
        self.directory = there(Path(directory).absolute())
        self._saving = 0
        self._scores: dict[int, float] = {}
        policies = ocp.checkpoint_managers
        kept = [policies.LatestN(keep), KeepBest(keep_best, self._scores)]
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy(kept),
            create=True,
            cleanup_tmp_directories=True,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._before_commit),
        )
        with naming(self.directory):
            self._manager = ocp.CheckpointManager(
                self.directory, options=options, item_handlers=ocp.StandardCheckpointHandler()
            )
            self._scores |= read_scores(self.directory, self._manager.all_steps())

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, error, *_) -> None:
        with contextlib.suppress(Exception) if error else contextlib.nullcontext():
            self.close()

    def close(self) -> None:
        """Finish the save that is under way, if any."""
        self.wait()
        self._manager.close()

    def wait(self) -> None:
        """Return when everything that was saved is on disk.

        Raises:
          UserError: it could not be written.
        """
        with self._writing():
            self._manager.wait_until_finished()

    def latest(self) -> int | None:
        """The newest complete step, or None."""
        return max(self._steps(), default=None)

    def best(self) -> int | None:
        """The complete step with the best score, or None."""
        steps = self._steps()
        return next((step for step in ranked(self._scores) if step in steps), None)

    def save(self, step: int, state: TrainState, score: float | None = None) -> None:
        """Write the state after ``step`` updates; a checkpoint that is there already stays.

        A ``score``, the smaller the better, lets it be one of the best; one that is not finite counts as none.

        Raises:
          UserError: this one has no room on the disk, or the one before could not be written.
        """
        if step in self._steps():
            return
        self._saving = step
        if self._on_a_disk:
            needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
            free = shutil.disk_usage(self.directory).free
            if free < needed:
                raise self._unwritten(
                    f"it needs {needed / 2**20:.4g} MiB and the disk has {free / 2**20:.4g} MiB left"
                )
        self._scores.pop(step, None)
        if score is not None and math.isfinite(score):
            self._scores[step] = score
        with self._writing():
            self._manager.save(step, args=ocp.args.StandardSave(state), force=True)

    def restore(self, target: TrainState, step: int | None = None) -> TrainState:
        """The state of ``step`` (default: the newest readable), laid out as ``target`` (:func:`abstract`).

        Raises:
          UserError: there is none, it cannot be read, or it belongs to another architecture.
        """
        steps = self._steps()
        if step is None:
            return newest(steps, self.directory, lambda step: self.restore(target, step))[1]
        if step not in steps:
            raise missing(self.directory, step, steps)
        folder = self.directory / str(step)
        check_architecture(stored_shapes(self._manager, folder), target, folder)
        restore = lambda: self._manager.restore(step, args=ocp.args.StandardRestore(target))
        return reading(restore, folder)

    def resume(self, state: TrainState) -> tuple[int, TrainState]:
        """Step and state of the newest readable checkpoint, laid out as ``state``; (0, ``state``) without any.

        Damaged newer ones make room for those that the run will write again: ``<step>.damaged``.

        Raises:
          UserError: as :meth:`restore`.
        """
        steps, target = self._steps(), abstract(state)
        if not steps:
            return 0, state
        step, state = newest(steps, self.directory, lambda step: self.restore(target, step))
        if step < steps[0]:
            if jax.process_index() == 0:
                for damaged in steps[: steps.index(step)]:
                    with naming(self.directory):
                        _move_aside(self.directory / str(damaged))
            ocp.utils.sync_global_processes("drf_jax: damaged checkpoints moved")
            self._manager.reload()
        return step, state

    @property
    def _on_a_disk(self) -> bool:
        return isinstance(self.directory, Path)

    def _steps(self) -> list[int]:
        self.wait()
        return sorted(self._manager.all_steps(), reverse=True)

    def _before_commit(self) -> None:
        """Orbax calls this on the first process when all files are written and not yet under their name."""
        unfinished = self.directory.glob(f"{self._saving}.orbax-checkpoint-tmp*")
        folder = next(unfinished, self.directory / str(self._saving))
        if self._saving in self._scores:
            write_score(folder, self._scores[self._saving])
        if self._on_a_disk:
            write_checksums(folder)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            number = re.search(r"os_error_code='(\d+)'", str(error))  # as TensorStore says it
            reason = os.strerror(int(number[1])) if number else str(error).partition("\n")[0]
            raise self._unwritten(reason) from error

    def _unwritten(self, reason: str) -> UserError:
        return UserError(
            f"checkpoint {self.directory / str(self._saving)} cannot be written: {reason};"
            " older ones are as they were"
        )


def load_ema(
    directory: str | os.PathLike, abstract_params: Params, which: Which = "latest"
) -> Params:
    """Only the averaged parameters of a checkpoint, e.g. as a teacher or for sampling.

    Args:
      directory: of the checkpoints.
      abstract_params: a tree of ``jax.ShapeDtypeStruct``, with or without shardings; without,
        the arrays come back uncommitted on the default device.
      which: "latest" and "best" pass over those that cannot be read.

    Raises:
      UserError: as :meth:`Checkpoints.restore`, or no checkpoint has a score.
    """
    directory = there(Path(directory).absolute())
    with naming(directory):
        try:
            next(iter(directory.iterdir()), None)
        except (FileNotFoundError, NotADirectoryError):
            raise missing(directory) from None
    target = {"ema": abstract_params}
    options = ocp.CheckpointManagerOptions(create=False, read_only=True)
    handler = ocp.PyTreeCheckpointHandler()
    with (
        naming(directory),
        ocp.CheckpointManager(directory, options=options, item_handlers=handler) as manager,
    ):

        def load(step):
            folder = directory / str(step)
            stored = stored_shapes(manager, folder)
            stored = {name: shape for name, shape in stored.items() if name.split("/")[0] == "ema"}
            check_architecture(stored, target, folder)
            args = ocp.args.PyTreeRestore(
                target, restore_args=jax.tree.map(_restore_args, target), partial_restore=True
            )
            return reading(lambda: manager.restore(step, args=args)["ema"], folder)

        _, ema = newest(_in_order(manager.all_steps(), directory, which), directory, load)
    return jax.tree.map(jnp.asarray, ema)


def newest(steps: Sequence[int], directory: Folder, load: Callable[[int], T]) -> tuple[int, T]:
    """The first of ``steps`` that ``load`` can read, and what it read; the damaged ones are named on stderr.

    Raises:
      UserError: there are none, or every one is damaged (then the first is named).
    """
    damaged = []
    for step in steps:
        try:
            found = load(step)
        except Damaged as error:
            damaged.append(error)
            continue
        for error in damaged:
            print(f"{error}; step {step} is used instead", file=sys.stderr)
        return step, found
    raise damaged[0] if damaged else missing(directory)


def _in_order(steps, directory, which):
    """The steps to try, the wanted one first."""
    if which == "latest":
        return sorted(steps, reverse=True)
    if which == "best":
        if best := ranked(read_scores(directory, steps)):
            return best
        raise UserError(
            f"no checkpoint in {directory} has a held-out loss; train with config.train.evaluate_every"
        )
    if which not in steps:
        raise missing(directory, which, steps)
    return [which]


def _move_aside(folder):
    names = (f"{folder.name}.damaged{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 100))))
    folder.rename(next(folder.with_name(n) for n in names if not folder.with_name(n).exists()))


def _restore_args(leaf):
    if getattr(leaf, "sharding", None) is None:
        return ocp.RestoreArgs(restore_type=np.ndarray, dtype=leaf.dtype)
    return ocp.ArrayRestoreArgs(sharding=leaf.sharding, dtype=leaf.dtype)
