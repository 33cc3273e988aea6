"""A results file that grows row by row: an experiment that is killed goes on where it stopped.

A row has a mark, a fingerprint of all that it depends on, and details, which are no row's keys. Beside the fixed keys
the file has ``marks`` and ``details``, element i of row i; a row whose mark is there already is not made again.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from drf_jax.evaluation.report import Row, read_results, with_circumstances, write_results

Made = tuple[Row, dict[str, Any]]
"""A row and its details, as JSON values."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What makes one row."""

    label: str
    mark: str
    make: Callable[[], Made]


def kept(path: Path) -> dict[str, Made]:
    """Mark -> what the file has; nothing if there is no file.

    Raises:
      UserError: it is not a results file.
    """
    if not path.exists():
        return {}
    stored = read_results(path)
    parts = (stored.get("marks", []), with_circumstances(stored), stored.get("details", []))
    return {mark: (row, details) for mark, row, details in zip(*parts, strict=False)}


def make_rows(
    path: Path, jobs: Sequence[Job], config: Mapping[str, Any], command: str
) -> list[Made]:
    """Every job's row, in order, and the results file with them; after each new one the file is written."""
    known, made = kept(path), []

    def write() -> None:
        marks = [job.mark for job in jobs[: len(made)]]
        extra = {"marks": marks, "details": [details for _, details in made]}
        write_results(path, [row for row, _ in made], config, command, extra)

    bar = tqdm(jobs, desc="rows", unit="row", disable=None)
    for job in bar:
        bar.set_postfix_str(job.label)
        made.append(known.get(job.mark) or job.make())
        if job.mark not in known:
            write()
    write()
    return made
