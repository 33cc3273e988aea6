"""The training curve: one JSON object a line, ``{"step": 100, "time": 1.7e9, "loss": 0.12, ...}``.

``time`` is in seconds since 1970. A number that is not finite is written as ``null``, which every
JSON reader accepts. A kill may leave half a line; it is dropped when the file is opened again.
``rewind`` makes a resumed run's file the same as an uninterrupted one's.
"""

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import SupportsFloat

import jax

from drf_jax.errors import UserError


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
        """Append one line, on disk when this returns."""
        if not self._active:
            return
        values = {name: float(value) for name, value in metrics.items()}
        finite = {name: v if math.isfinite(v) else None for name, v in values.items()}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "time": round(time.time(), 3), **finite}) + "\n")
        if self._make_writer is not None:
            if self._writer is None:
                self._writer = self._make_writer(str(self.path.parent), purge_step=step)
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()

    def rewind(self, step: int | None) -> None:
        """Drop the lines after ``step`` (None: none of them) and half-written ones, atomically."""
        if not self._active or not self.path.exists():
            return
        old = self.path.read_text()
        keep = [line for line in old.splitlines() if _step(line) is not None]
        if step is not None:
            keep = [line for line in keep if _step(line) <= step]
        new = "".join(line + "\n" for line in keep)
        if new != old:
            partial = self.path.with_name(self.path.name + ".partial")
            partial.write_text(new)
            partial.replace(self.path)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


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
