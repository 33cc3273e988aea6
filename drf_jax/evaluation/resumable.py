"""Samples on disk, written part by part: a generation that is killed goes on where it stopped.

    <name>.f32     float32 [n, *state], row after row, without a header
    <name>.json    what the samples depend on (their mark), the shape of a row, and how many rows are made

The note is written after the rows it counts; more rows may be asked for later. Parts begin where batches begin, so a
generation that is resumed with the same batch size makes the very batches of an uninterrupted one: the same numbers,
bit for bit.
"""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from drf_jax.atomic import replacing
from drf_jax.errors import UserError
from drf_jax.evaluation.generate import Sampler, generate
from drf_jax.typing import PRNGKey

PART = 1024
"""Samples that a kill may cost; a part is at least one batch."""


def generate_resumably(
    path: Path,
    mark: str,
    sampler: Sampler,
    root: PRNGKey,
    count: int,
    shape: tuple[int, ...],
    cond_fn: Callable[[Int[np.ndarray, "b"]], Any] | None = None,
    batch_size: int = 64,
    part: int = PART,
    label: str = "generate",
) -> Float32[np.ndarray, "n ..."]:
    """The samples 0 … count - 1, memory mapped; those that are in ``path`` already are not made again.

    Args:
      path: of the ``.f32`` file; its folder is made.
      mark: says what the samples depend on. A file with another mark, or damaged, is made anew.
      sampler, root, shape, cond_fn, batch_size, label: as of ``generate``.
      part: samples between two writes, rounded down to whole batches.

    Raises:
      UserError: the samples cannot be written.
    """
    note = path.with_suffix(".json")
    wanted = {"mark": mark, "state": list(shape)}
    size = 4 * math.prod(shape)
    done = _done(path, note, wanted, size)
    try:
        if not done:
            # Without a note, whatever a kill leaves behind from here on counts as nothing.
            note.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        while done < count:
            start = done // batch_size * batch_size
            done = min(start + batch_size * max(1, part // batch_size), count)
            indices = np.arange(start, done)
            samples = generate(sampler, root, indices, shape, cond_fn, batch_size, label)
            with path.open("r+b") as file:
                file.seek(start * size)
                file.write(samples.tobytes())
                file.flush()
                os.fsync(file.fileno())
            with replacing(note) as file:
                file.write(json.dumps({**wanted, "done": done}).encode())
    except OSError as error:
        raise UserError(f"samples in {path} cannot be written: {error.strerror}") from error
    return np.memmap(path, np.float32, "r", shape=(count, *shape))


def _done(path: Path, note: Path, wanted: dict[str, Any], size: int) -> int:
    """How many of the wanted samples are there; ``size`` is a row's, in bytes."""
    try:
        found = json.loads(note.read_text())
        done = found.pop("done")
        whole = path.stat().st_size >= done * size
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return 0
    return done if whole and found == wanted else 0
