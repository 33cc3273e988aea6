"""Processes that share an accelerator and take turns, so that what is timed has it for itself.

With the name of a file in the environment variable ``DRF_TURNS``, a process trains, samples and times only while it
holds an exclusive ``flock`` on that file; starting, reading and compiling go on beside. The kernel gives a turn back
when its process ends, however it ends. Without the variable nobody waits.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator

VARIABLE = "DRF_TURNS"


def shared() -> bool:
    """Whether there is somebody to take turns with."""
    return bool(os.environ.get(VARIABLE))


@contextlib.contextmanager
def sharing(file: str | os.PathLike) -> Iterator[None]:
    """This process's threads, and the processes that it starts in the block, take turns by ``file``."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = os.fspath(file)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


class Turn:
    """Turns in a ``with`` block: ``take`` waits for one, and does nothing where it is held; the end gives it back.

    ``file`` is the one that ``DRF_TURNS`` names unless given.
    """

    def __init__(self, file: str | os.PathLike = "") -> None:
        self._file = file or os.environ.get(VARIABLE, "")
        self._descriptor: int | None = None

    def take(self) -> None:
        if self._descriptor is None and self._file:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._descriptor = descriptor

    def give(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "Turn":
        return self

    def __exit__(self, *_: object) -> None:
        self.give()


@contextlib.contextmanager
def turn(file: str | os.PathLike = "") -> Iterator[None]:
    """One turn for the whole block; ``file`` as of `Turn`."""
    with Turn(file) as mine:
        mine.take()
        yield
