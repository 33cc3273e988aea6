"""Which checkpoints are the best: those with the smallest score, such as a held-out loss.

A checkpoint's score is in ``score.json`` inside it, so it is kept, damaged and deleted with what it is the score of. A
checkpoint without one, such as what SIGTERM saved between two evaluations, is never the best: so an interrupted run has
the same best checkpoints as one that was not.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orbax.checkpoint.checkpoint_managers import PreservationPolicy

from drf_jax.atomic import replacing
from drf_jax.typing import Folder

NAME = "score.json"


def write_score(folder: Folder, score: float) -> None:
    """Note the score of a checkpoint in its folder."""
    with replacing(folder / NAME) as file:
        file.write(json.dumps({"score": score}).encode())


def read_scores(directory: Folder, steps: Iterable[int]) -> dict[int, float]:
    """The scores of those steps that have one which can be read."""
    found = {step: _read(directory / str(step) / NAME) for step in steps}
    return {step: score for step, score in found.items() if math.isfinite(score)}


def ranked(scores: Mapping[int, float]) -> list[int]:
    """Steps, the best first; of equals the newer."""
    return sorted(scores, key=lambda step: (scores[step], -step))


class KeepBest(PreservationPolicy):
    """What Orbax asks which checkpoints stay: the best ``n`` by ``scores``, a dict that may change."""

    def __init__(self, n: int, scores: Mapping[int, float]):
        self._n, self._scores = n, scores

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        best = ranked({s: self._scores[s] for s in steps if s in self._scores})[: self._n]
        return [step in best for step in steps]


def _read(path):
    try:
        return float(json.loads(path.read_text())["score"])
    except (OSError, ValueError, KeyError, TypeError):
        return math.nan
