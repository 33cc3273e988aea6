"""Where a run's seconds go, over its whole life.

The host's time in the loop is split in six:

    data         making the batch and handing it to the devices
    compute      calling the step and waiting for its numbers
    compile      the first call of each compiled step
    checkpoint   until the state is copied; writing goes on in the background
    samples      hooks, such as pictures on the way
    evaluation   the held-out loss

JAX runs ahead of the host, so ``data`` is time the devices waited only where it exceeds their own. With L the
seconds since the run first started, time in which it did not run included,

    seconds = Σ (data + compute) of the updates that count,      goodput = seconds / L              (1)

Both go on where the last line of the metrics file that the resumed run keeps left them: updates that are made again
after a kill count once, and what lies between that line and the checkpoint is not counted.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

PARTS = ("data", "compute", "compile", "checkpoint", "samples", "evaluation")


class Clock:
    """Seconds by part since the last line, and since the start of the run's life."""

    def __init__(self, last: Mapping[str, Any] | None = None):
        """``last``: the newest line of the metrics file that is kept."""
        last = last or {}
        self.seconds = float(last.get("seconds") or 0.0)
        self._born = float(last.get("time") or time.time()) - float(last.get("life") or 0.0)
        self._clear()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block as ``name``, one of ``PARTS``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._parts[name] += time.perf_counter() - start

    def update(self, examples: int = 0, flops: float | None = None) -> None:
        """Count one update, of ``examples`` examples and ``flops`` floating-point operations where known.

        One whose call was counted as ``compile`` is left out.
        """
        self._updates += 1
        self._examples += examples
        self._flops += flops or math.nan

    def line(self, devices: int, peak: float | None) -> dict[str, float]:
        """The numbers of a log line; the parts start again at zero.

        Args:
          devices: how many the run uses.
          peak: floating-point operations a second of one of them, if known.

        Returns:
          ``seconds``, ``life`` [s], ``goodput`` as (1); ``<part>_seconds`` since the line before; of the data and
          compute seconds among them ``step_ms``, ``images_per_second``, ``images_per_second_per_device`` and ``mfu``,
          the share of the devices' peak. What is not known is left out.
        """
        training = self._parts["data"] + self._parts["compute"]
        self.seconds += training
        life = time.time() - self._born
        values = {"seconds": self.seconds, "life": life, "goodput": self.seconds / max(life, 1e-9)}
        values |= {f"{name}_seconds": spent for name, spent in self._parts.items()}
        if self._updates:
            values["step_ms"] = 1e3 * training / self._updates
            if self._examples:
                rate = self._examples / training
                values |= {
                    "images_per_second": rate,
                    "images_per_second_per_device": rate / devices,
                }
            if peak is not None and not math.isnan(self._flops):
                values["mfu"] = self._flops / training / (peak * devices)
        self._clear()
        return values

    def _clear(self) -> None:
        self._parts = dict.fromkeys(PARTS, 0.0)
        self._updates = self._examples = 0
        self._flops = 0.0
