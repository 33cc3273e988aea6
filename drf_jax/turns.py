"""Processes that share an accelerator and take turns, so that what is timed has it for itself.

With the name of a file in the environment variable ``DRF_TURNS``, a process trains, samples, measures and times only
while it holds an exclusive ``flock`` on that file; starting, reading and compiling go on beside. One that uses several
accelerators names a file of each, with ``:`` between them. The kernel gives a turn back when its process ends, however
it ends. Without the variable nobody waits.

The file has a line of JSON for every turn that was given back: the process's ``command``, since when it had the turn
(``from``), the seconds that it ``waited`` for it and ``held`` it, and whether it was ``shared``. So it tells what an
accelerator did, and why it did nothing.

A turn that comes `first` goes before all others that wait: what is nearly done gets done, whatever comes after. Who
waits for one holds a shared ``flock`` on the file's name with ``.first`` at its end, and others let him pass.

Compiling may try out kernels on the accelerator. Where that would disturb, `compiling` keeps others from their turns.

A process keeps the accelerator's memory that it has had. `keep` lets its first turn last until its end, so that those
who wait have run nothing large yet, and several fit that could not all train.
"""

import atexit
import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator

VARIABLE = "DRF_TURNS"
OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND
_kept: list["Turn"] = []
"""The turn that lasts, once `keep` was called."""


def keep() -> None:
    """From now on the first turn of a training in this process lasts until the process ends."""
    if not _kept:
        _kept.append(Turn())
        atexit.register(
            _kept[0]._tell
        )  # and hold it: the memory is not free before the process's end


def shared() -> bool:
    """Whether there is somebody to take turns with."""
    return bool(os.environ.get(VARIABLE))


class Turn:
    """Turns in a ``with`` block: ``take`` waits for one, and does nothing where it is held; the end gives it back.

    ``files`` are what ``DRF_TURNS`` names unless given. One that ``lasts`` is that of the process where `keep` says so.
    One that comes ``first`` is taken before those that do not.
    """

    def __init__(self, files: str = "", lasts: bool = False, first: bool = False) -> None:
        self._lasts, self._first = lasts, first
        # All take them in the same order, so that nobody waits for somebody who waits for him.
        self._files = sorted(
            filter(None, (files or os.environ.get(VARIABLE, "")).split(os.pathsep))
        )
        self._held: list[int] = []
        self._told: dict[str, object] = {}

    def take(self, how: int = fcntl.LOCK_EX) -> None:
        mine = self
        if _kept and (self._lasts or _kept[0]._held):
            mine = _kept[0]
        mine._take(how)

    def _take(self, how: int) -> None:
        if not self._held:
            asked = time.time()
            for file in self._files:
                self._held.append(os.open(file, OPEN, 0o644))
                (_ahead if self._first else _behind)(file, self._held[-1], how)
            self._told = {
                "command": " ".join(sys.argv),
                "from": (now := time.time()),
                "waited": now - asked,
                "shared": how == fcntl.LOCK_SH,
            }

    def give(self) -> None:
        self._tell()
        while self._held:
            os.close(self._held.pop())

    def _tell(self) -> None:
        for file in self._held:
            line = json.dumps({**self._told, "held": time.time() - self._told["from"]})
            with contextlib.suppress(OSError):
                os.write(file, f"{line}\n".encode())

    def __enter__(self) -> "Turn":
        return self

    def __exit__(self, *_: object) -> None:
        self.give()


@contextlib.contextmanager
def _waiting_first(file: str) -> Iterator[int]:
    descriptor = os.open(f"{file}.first", OPEN, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _ahead(file: str, mine: int, how: int) -> None:
    """Wait for the lock, so that others let it pass."""
    with _waiting_first(file) as sign:
        fcntl.flock(sign, fcntl.LOCK_SH)
        fcntl.flock(mine, how)


def _behind(file: str, mine: int, how: int) -> None:
    """Wait for the lock until nobody is `_ahead`."""
    with _waiting_first(file) as sign:
        while True:
            fcntl.flock(mine, how)
            try:
                fcntl.flock(sign, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                fcntl.flock(mine, fcntl.LOCK_UN)
            fcntl.flock(sign, fcntl.LOCK_EX)
            fcntl.flock(sign, fcntl.LOCK_UN)


@contextlib.contextmanager
def turn(files: str = "", first: bool = False) -> Iterator[None]:
    """One turn for the whole block; ``files`` and ``first`` as of `Turn`."""
    with Turn(files, first=first) as mine:
        mine.take()
        yield


@contextlib.contextmanager
def compiling(files: str = "") -> Iterator[None]:
    """Nobody has a turn during the block; others may be in such a block, too. ``files`` as of `Turn`."""
    with Turn(files) as mine:
        mine.take(fcntl.LOCK_SH)
        yield
