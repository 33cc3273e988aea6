"""Processes that share an accelerator and take turns, so that what is timed has it for itself.

With the name of a file in the environment variable ``DRF_TURNS``, a process trains, samples, measures and times only
while it holds an exclusive ``flock`` on that file; starting, reading and compiling go on beside. One that uses several
accelerators names a file of each, with ``:`` between them. The kernel gives a turn back when its process ends, however
it ends. Without the variable nobody waits.

Compiling may try out kernels on the accelerator. Where that would disturb, `compiling` keeps others from their turns.

A process keeps the accelerator's memory that it has had. `keep` lets its first turn last until its end, so that those
who wait have run nothing large yet, and several fit that could not all train.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator

VARIABLE = "DRF_TURNS"
_kept: list["Turn"] = []
"""The turn that lasts, once `keep` was called."""


def keep() -> None:
    """From now on the first turn of a training in this process lasts until the process ends."""
    if not _kept:
        _kept.append(Turn())


def shared() -> bool:
    """Whether there is somebody to take turns with."""
    return bool(os.environ.get(VARIABLE))


class Turn:
    """Turns in a ``with`` block: ``take`` waits for one, and does nothing where it is held; the end gives it back.

    ``files`` are what ``DRF_TURNS`` names unless given. One that ``lasts`` is that of the process where `keep` says so.
    """

    def __init__(self, files: str = "", lasts: bool = False) -> None:
        self._lasts = lasts
        # All take them in the same order, so that nobody waits for somebody who waits for him.
        self._files = sorted(
            filter(None, (files or os.environ.get(VARIABLE, "")).split(os.pathsep))
        )
        self._held: list[int] = []

    def take(self, how: int = fcntl.LOCK_EX) -> None:
        mine = self
        if _kept and (self._lasts or _kept[0]._held):
            mine = _kept[0]
        mine._take(how)

    def _take(self, how: int) -> None:
        if not self._held:
            for file in self._files:
                self._held.append(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))
                fcntl.flock(self._held[-1], how)

    def give(self) -> None:
        while self._held:
            os.close(self._held.pop())

    def __enter__(self) -> "Turn":
        return self

    def __exit__(self, *_: object) -> None:
        self.give()


@contextlib.contextmanager
def turn(files: str = "") -> Iterator[None]:
    """One turn for the whole block; ``files`` as of `Turn`."""
    with Turn(files) as mine:
        mine.take()
        yield


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Nobody has a turn during the block; others may be in such a block, too."""
    with Turn() as mine:
        mine.take(fcntl.LOCK_SH)
        yield
