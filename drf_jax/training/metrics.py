"""The training curve: one JSON object a line, ``{"step": 100, "time": 1.7e9, "loss": 0.12, ...}``.

``time`` is in seconds since 1970. A number that is not finite is written as ``null``, which every
JSON reader accepts. A kill may leave half a line; it is dropped when the file is opened again.
``rewind`` makes a resumed run's file the same as an uninterrupted one's, but for what `is_timing` names.
"""

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, SupportsFloat

import jax

from drf_jax.atomic import replacing
from drf_jax.errors import UserError

TIMING = ("time", "seconds", "life", "goodput", "step_ms", "mfu", "memory")


class MetricsLog:
    """Appends to ``path`` on the first process; TensorBoard files, if wanted, go beside it.

    Raises:
      UserError: ``tensorboard`` is wanted and tensorboardX is not installed.
    """

    def __init__(self, path: str | os.PathLike, tensorboard: bool = False):
        self.path = Path(path)
        self._active = jax.process_index() == 0
        self._make_writer = _summary_writer() if tensorboard else None
        self._writer = None
        if self._active:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.rewind(None)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def write(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        """Append one line, on disk when this returns.

        Raises:
          UserError: it cannot be written.
        """
        if not self._active:
            return
        values = {name: float(value) for name, value in metrics.items()}
        finite = {name: v if math.isfinite(v) else None for name, v in values.items()}
        line = json.dumps({"step": step, "time": round(time.time(), 3), **finite})
        try:
            with self.path.open("a") as file:
                file.write(line + "\n")
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from None
        if self._make_writer is not None:
            if self._writer is None:
                self._writer = self._make_writer(str(self.path.parent), purge_step=step)
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()

    def rewind(self, step: int | None) -> dict[str, Any] | None:
        """Drop the lines after ``step`` (None: none of them) and half-written ones, atomically.

        Returns:
          The last line that is kept, on the first process; None where there is none.
        """
        if not self._active or not self.path.exists():
            return None
        old = self.path.read_text()
        lines = [line for line in old.splitlines() if _step(line) is not None]
        keep = [line for line in lines if step is None or _step(line) <= step]
        new = "".join(line + "\n" for line in keep)
        if new != old:
            with replacing(self.path) as file:
                file.write(new.encode())
        return json.loads(keep[-1]) if keep else None

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def is_timing(name: str) -> bool:
    """Whether a field of a line depends on the clock or the machine and not only on the training."""
    return name in TIMING or name.endswith(("_seconds", "_per_second", "_per_second_per_device"))


def _step(line):
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return None


def _summary_writer():
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UserError(
            "tensorboard: tensorboardX is not installed; pip install tensorboardX, or leave it off"
        ) from error
    return SummaryWriter
