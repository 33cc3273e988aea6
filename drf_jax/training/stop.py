"""SIGTERM and Ctrl-C: finish the running update, save, exit. On several hosts all agree after which update.

One process notes the signal itself. With several, only some may get it (a preempted host of a pod, Ctrl-C in one
terminal), and all must save the same step; JAX's coordination service then picks a step that none has passed yet and
tells every process. It knows SIGTERM only, so a process that gets a SIGINT sends itself a SIGTERM.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
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
    to_service = lambda number: os.kill(os.getpid(), signal.SIGTERM)
    with _first_of([signal.SIGINT], to_service) as caught:
        yield lambda step: (caught or [signal.SIGTERM])[0] if reached(step) else None


@contextmanager
def _own_signals() -> Iterator[Stop]:
    with _first_of([signal.SIGTERM, signal.SIGINT]) as caught:
        yield lambda step: caught[0] if caught else None


@contextmanager
def _first_of(
    numbers: Sequence[int], then: Callable[[int], None] = lambda number: None
) -> Iterator[list[int]]:
    """Collect the first of these signals instead of dying of it; only the main thread can."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    previous = {number: signal.getsignal(number) for number in numbers}

    def note(number, _):
        caught.append(number)
        restore()  # a second signal acts at once
        then(number)

    def restore():
        for number, handler in previous.items():
            signal.signal(number, handler)

    for number in previous:
        signal.signal(number, note)
    try:
        yield caught
    finally:
        restore()
