"""Losses that are not finite, and losses that jump.

The step itself leaves the state as it was where the loss or the gradient is not finite (`step`, equation 2), so such a
batch is skipped and nothing has to be rolled back. Here the host learns of it: it keeps the two numbers of every update
on the device and fetches them together at log and save steps, when it waits for the device anyway.
"""

import math
import statistics
from collections import deque

import jax

from drf_jax.errors import UserError
from drf_jax.typing import Metrics

SPIKE = 10.0
"""A loss this many times the median of those before it is a spike."""
MEMORY, ENOUGH = 100, 10
"""How many of those before it count, and how many it takes."""


class Guard:
    """Counts skipped updates in a row and stops the run after ``max_skipped`` of them."""

    def __init__(self, max_skipped: int):
        self.max_skipped = max_skipped
        self._row = 0
        self._unseen: list[tuple[jax.Array, jax.Array]] = []
        self._losses: deque[float] = deque(maxlen=MEMORY)

    def add(self, metrics: Metrics) -> None:
        """Remember an update's ``loss`` and ``grad_norm``, on the device."""
        self._unseen.append((metrics["loss"], metrics["grad_norm"]))

    def look(self, step: int) -> list[str]:
        """What is worth saying about the updates since the last look; ``step`` is the newest.

        Raises:
          UserError: ``max_skipped`` updates in a row were skipped.
        """
        pairs = jax.device_get(self._unseen)
        self._unseen.clear()
        messages = []
        for i, pair in enumerate(pairs, step - len(pairs) + 1):
            loss, norm = map(float, pair)
            name, value = ("grad_norm", norm) if math.isfinite(loss) else ("loss", loss)
            if math.isfinite(value):
                self._row = 0
                if len(self._losses) >= ENOUGH and loss > SPIKE * statistics.median(self._losses):
                    messages.append(f"loss spike: {loss:.4g} at step {i}")
                self._losses.append(loss)
                continue
            self._row += 1
            messages.append(f"{name} is {value} at step {i}: this batch is skipped")
            if self._row == self.max_skipped:
                raise UserError(
                    f"training: {name} is {value} at step {i}, the last of {self._row} steps in a row that were"
                    " skipped for such a number; a lower learning rate or clip may help"
                )
        return messages
