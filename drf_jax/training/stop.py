"""SIGTERM and Ctrl-C: finish the running update, save, exit. On several hosts all agree after which update.

One process notes the signal itself. With several, only some may get it (a preempted host of a pod), and all must save
the same step; JAX's coordination service then picks a step that none has passed yet and tells every process.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
from jax.experimental import multihost_utils

Stop = Callable[[int], int | None]
"""``stop(finished updates)``: the signal to stop for now, or None. Ask after every update."""


def stop_requests() -> "contextmanager[Stop]":
    """The `Stop` of this run, in a ``with`` statement."""
    return _own_signals() if jax.process_count() == 1 else _agreed()


@contextmanager
def _agreed() -> Iterator[Stop]:
    reached = multihost_utils.reached_preemption_sync_point
    yield lambda step: signal.SIGTERM if reached(step) else None


@contextmanager
def _own_signals() -> Iterator[Stop]:
    """Collect the first SIGTERM or SIGINT instead of dying of it; only the main thread can."""
    caught: list[int] = []
    stop = lambda step: caught[0] if caught else None
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def note(number, _):
        caught.append(number)
        restore()  # a second signal acts at once

    def restore():
        for number, handler in previous.items():
            signal.signal(number, handler)

    for number in previous:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        restore()
