"""Measurements one after the other: known ones are skipped, all are saved at once, a deadline is kept."""

import shlex
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from tqdm import tqdm

Entry = dict[str, Any]


class Job(NamedTuple):
    """One measurement, and where it goes."""

    table: str
    of: Entry
    """What tells its entry from the others of the table; all its keys are in the entry."""
    measure: Callable[[], Entry]


def device_name() -> str:
    """The first device's name, as results files have it in theirs."""
    return "_".join(jax.devices()[0].device_kind.lower().split())


def typed(argv: Sequence[str]) -> str:
    """The command that started a script, without the folder that it writes to."""
    words, rest = [], iter(argv[1:])
    for word in rest:
        if word.lstrip("-") == "out":
            next(rest, None)
        elif not word.lstrip("-").startswith("out="):
            words.append(word)
    return shlex.join(["python", f"experiments/{Path(argv[0]).name}", *words])


def measure_all(
    work: Iterable[Job],
    tables: dict[str, list[Entry]],
    save: Callable[[], None],
    deadline: float = 0,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Append the entries that the tables lack.

    Args:
      work: what to measure, most wanted first.
      tables: name -> entries, those of an earlier call included.
      save: called after every measurement.
      deadline: seconds; no measurement is started that would end later, were it as long as the longest so far. 0: none.
      clock: seconds.

    Returns:
      Whether all was measured.
    """
    start, longest = clock(), 0.0
    with tqdm(work, unit=" measurements") as progress:
        for table, of, measure in progress:
            if any(all(e.get(key) == value for key, value in of.items()) for e in tables[table]):
                continue
            began = clock()
            if deadline and began - start + longest > deadline:
                print(f"{deadline:g} seconds are nearly over; --resume goes on", file=sys.stderr)
                return False
            progress.set_postfix_str(" ".join(str(v) for v in of.values() if v is not None))
            tables[table].append(measure())
            save()
            longest = max(longest, clock() - began)
    return True
