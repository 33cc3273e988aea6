"""Whether there is time for another student of a table."""

import threading

from rival_options import Options

START = 60.0
"""Seconds that a student is given to start and to be evaluated."""
BESIDES = 25.0
"""Of a turn, those that do not count: what networks start as is compiled, checkpoints are written."""


class Queue:
    """The students that are trained or wait for their turn; those that are evaluated take no accelerator for long."""

    def __init__(self, o: Options):
        self._o, self._lock, self._names = o, threading.Lock(), set()

    def enter(self, name: str) -> bool:
        """Whether it comes to its end before the deadline, when all that are in the queue come first."""
        with self._lock:
            turns = 1 + -(-len(self._names) // self._o.accelerators)
            if self._o.deadline.left() <= turns * (self._o.seconds + BESIDES) + START:
                return False
            self._names.add(name)
            return True

    def leave(self, name: str) -> None:
        """It is trained, or has failed."""
        with self._lock:
            self._names.remove(name)
