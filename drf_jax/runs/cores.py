"""The cores of a host, shared out among processes that work side by side.

What compiles, or multiplies matrices with a thread for every core that it sees, takes the time of a neighbour's loop.
A process with cores of its own sees those alone. On Linux; elsewhere nothing is shared out.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping

VARIABLE = "DRF_CORES"
"""In the environment of a process that `on_own_cores` starts: numbers of cores, with commas between them."""


def count() -> int:
    """Of the cores, how many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share(i: int, places: int) -> dict[str, str]:
    """The environment of place i of so many: a block of the cores that this process may use.

    Nothing where there are fewer cores than places.
    """
    if not hasattr(os, "sched_getaffinity"):
        return {}
    cores = sorted(os.sched_getaffinity(0))
    each = len(cores) // places
    own = cores[i * each : (i + 1) * each]
    return {VARIABLE: ",".join(map(str, own))} if own else {}


@contextlib.contextmanager
def on_own_cores(environment: Mapping[str, str]) -> Iterator[None]:
    """What this thread starts in the block runs on the cores of ``environment``, if that names any."""
    if VARIABLE not in environment:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, map(int, environment[VARIABLE].split(",")))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
