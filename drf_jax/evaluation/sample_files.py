"""Where the samples of a comparison lie, so that evaluations that run side by side may share a folder.

    <folder>/<method>-<seed>-<mark>.f32    samples of one method; the mark says what they depend on

Methods of one name but other parameters have files of their own. Those that want the very same samples take turns with
the file: the first makes them, the others find them (`drf_jax.evaluation.resumable`).
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from drf_jax.errors import UserError

MARKED = re.compile(r"(?P<name>.+-\d+)-[0-9a-f]{16}")
"""The stem of a file: method and seed, then the mark."""


def sample_file(folder: Path, method: str, seed: int, mark: str) -> Path:
    """The file of ``method``'s samples; ``mark`` is 16 hexadecimal digits."""
    return folder / f"{method}-{seed}-{mark}.f32"


@contextlib.contextmanager
def alone_with(file: Path) -> Iterator[None]:
    """No other process is in such a block for the same file; the kernel ends it with its process.

    Raises:
      UserError: the folder cannot be written, or its file system has no locks.
    """
    with contextlib.ExitStack() as stack:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            stack.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise UserError(f"samples in {file} cannot be written: {error.strerror}") from error
        yield


def forget_others(kept: Iterable[Path]) -> None:
    """Delete what lies beside these files and is of the same methods and seeds, with other parameters."""
    kept = list(kept)
    stems = {file.stem for file in kept}
    names = {found["name"] for stem in stems if (found := MARKED.fullmatch(stem))}
    folders = {file.parent for file in kept if file.parent.is_dir()}
    for file in {beside for folder in folders for beside in folder.iterdir()}:
        found = MARKED.fullmatch(file.stem)
        if found and found["name"] in names and file.stem not in stems:
            file.unlink(missing_ok=True)
