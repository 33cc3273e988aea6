"""What a trained student's run gives to a comparison: a method, and what its row says of its training."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from drf_jax.sampling.method import Method


@dataclasses.dataclass(frozen=True)
class Trained:
    """One row's method of a student's run.

    Attributes:
      method: it samples with the averaged parameters.
      depends_on: what its samples depend on besides the data, the teacher and the noise, as JSON values.
      train_seconds: training on top of the teacher's; None if the run did not record it.
      judge: hash of the feature network that its training looked through; such a student must not be scored with it.
    """

    method: Method
    depends_on: tuple[Any, ...]
    train_seconds: float | None = None
    judge: str = ""


def train_seconds(folder: Path) -> float | None:
    """Seconds of training updates over the life of the run in ``folder``, from its metrics; None if they lack it."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return json.loads(lines[-1]).get("seconds") if lines else None
