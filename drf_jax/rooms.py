"""Processes of one host that disturb what is timed on another's accelerator, and keep apart.

Where each process has an accelerator of its own, starting, tracing and compiling in one of them still slow down how
fast another's kernels are launched: they map memory and call the system all the time. With the start of a file's name
in the environment variable ``DRF_ROOMS``, a process is in one of two rooms, of which only one is in use at a time, by
any number of processes:

    loud     from its start, or from `begin`, on
    quiet    while it has `Quiet`, for what is timed

Who wants to change rooms waits at the door until the other room is empty, and nobody passes him there. Rooms are
``flock``s: the kernel lets a process leave when it ends, however it ends. Without the variable nobody waits.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping

VARIABLE, SEAT = "DRF_ROOMS", "DRF_ROOMS_SEAT"
LOUD, QUIET = "loud", "quiet"
_inside: dict[str, int] = {}  # room -> descriptor of this process; at most one


def _open(prefix: str, name: str) -> int:
    return os.open(f"{prefix}.{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def seat(prefix: str, room: str) -> int:
    """A descriptor; whoever has it is in the room. One waits until the other room is empty."""
    door, other = _open(prefix, "door"), _open(prefix, {LOUD: QUIET, QUIET: LOUD}[room])
    fcntl.flock(door, fcntl.LOCK_EX)
    fcntl.flock(other, fcntl.LOCK_EX)
    mine = _open(prefix, room)
    fcntl.flock(mine, fcntl.LOCK_SH)
    os.close(other)
    os.close(door)
    return mine


@contextlib.contextmanager
def seated(environment: Mapping[str, str]) -> Iterator[tuple[dict[str, str], tuple[int, ...]]]:
    """A seat in the loud room for a process that is started in the block: so its start is loud, too.

    ``environment`` is what it gets; yields what else belongs there, and the descriptors that it inherits.
    """
    if not environment.get(VARIABLE):
        yield {}, ()
        return
    mine = seat(environment[VARIABLE], LOUD)
    try:
        yield {SEAT: str(mine)}, (mine,)
    finally:
        os.close(mine)


def begin() -> None:
    """Be loud: on the seat that this process was started with, or a new one."""
    if given := os.environ.pop(SEAT, ""):
        os.set_inheritable(int(given), False)
        _inside[LOUD] = int(given)
    enter(LOUD)


def apart() -> bool:
    """Whether there are rooms."""
    return bool(os.environ.get(VARIABLE))


def leave() -> None:
    """Be in no room."""
    while _inside:
        os.close(_inside.popitem()[1])


def enter(room: str) -> None:
    """Change rooms, once the other one is empty."""
    if apart() and room not in _inside:
        leave()
        _inside[room] = seat(os.environ[VARIABLE], room)


@contextlib.contextmanager
def outside() -> Iterator[None]:
    """Be in no room during the block, in which one waits for others, and then in the same one again."""
    rooms = list(_inside)
    leave()
    try:
        yield
    finally:
        for room in rooms:
            enter(room)


class Quiet:
    """The quiet room in a ``with`` block: ``take`` enters it, ``give`` leaves it, and so does the end."""

    def take(self) -> None:
        enter(QUIET)

    def give(self) -> None:
        if QUIET in _inside:
            enter(LOUD)

    def __enter__(self) -> "Quiet":
        return self

    def __exit__(self, *_: object) -> None:
        self.give()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The quiet room for the whole block."""
    with Quiet() as mine:
        mine.take()
        yield
