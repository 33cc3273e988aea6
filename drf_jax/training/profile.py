"""A trace of a few updates, to look at in XProf or TensorBoard (``pip install xprof``, ``xprof FOLDER``)."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax


@contextmanager
def tracing(folder: Path, first: int, updates: int) -> Iterator["Trace"]:
    """Trace updates ``first``, …, ``first + updates - 1``; call the `Trace` before each update and at the end."""
    with ExitStack() as stack:
        yield Trace(stack, folder, first, updates)


class Trace:
    """``trace(i, state)`` before update i, with the state that it gets."""

    def __init__(self, stack: ExitStack, folder: Path, first: int, updates: int):
        self._stack, self._folder, self._first, self._last = stack, folder, first, first + updates

    def __call__(self, i: int, state: Any) -> None:
        if self._last > self._first and i in (self._first, self._last):
            jax.block_until_ready(state)
            if i == self._first:
                self._stack.enter_context(jax.profiler.trace(str(self._folder)))
            else:
                self._stack.close()
