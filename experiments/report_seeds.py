"""How far trainings of several seeds are apart: mean and standard deviation of a table's rows over its seeds.

``results/rivals_DATA.json`` is of seed 0, ``rivals_DATA_seedN.json`` of ``experiments/rivals.py --seed N --publish``.
A student that two or more of them have is a row. Samples are of the same noises for all seeds.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from drf_jax.errors import UserError
from drf_jax.evaluation.report import Row, markdown_table, read_results
from drf_jax.evaluation.score import over_seeds

SAME = ("dataset", "sequential_calls", "network_evaluations", "drafts", "samples", "feature_space")
MEASURED = {
    "fd": "FD",
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "rmse_to_teacher": "RMSE to teacher",
}
COLUMNS = {
    "method": "method",
    "sequential_calls": "sequential calls",
    "network_evaluations": "evaluations",
    "seeds": "seeds",
    **MEASURED,
}


def tables(folder: Path, data: str) -> dict[int, Path]:
    """Seed -> the table of it."""
    found = {}
    for path in folder.glob(f"rivals_{data}*.json"):
        if match := re.fullmatch(rf"rivals_{data}(?:_seed(\d+))?", path.stem):
            found[int(match[1] or 0)] = path
    return dict(sorted(found.items()))


def trained(path: Path) -> dict[str, Row]:
    """Method -> row, of those that were trained."""
    return {r["method"]: r for r in read_results(path)["rows"] if "train_seconds" in r}


def over(rows: Mapping[int, Row]) -> Row:
    """One row for the rows that one method has at several seeds.

    Raises:
      UserError: they differ in what must be the same.
    """
    first, *_ = rows.values()
    for seed, row in rows.items():
        for key in SAME:
            if row.get(key) != first.get(key):
                raise UserError(
                    f"{row['method']}, seed {seed}: {key} is {row.get(key)}, not {first.get(key)}"
                )
    means = over_seeds([{key: row.get(key) for key in MEASURED} for row in rows.values()])
    calls = {key: first[key] for key in ("sequential_calls", "network_evaluations")}
    return {"method": first["method"], **calls, "seeds": len(rows), **means}


def seeds(folder: Path, data: str) -> str:
    """A line a student, in the order of seed 0's table.

    Raises:
      UserError: no student has two seeds, or see `over`.
    """
    of = {seed: trained(path) for seed, path in tables(folder, data).items()}
    names = dict.fromkeys(name for rows in of.values() for name in rows)
    found = {name: {s: rows[name] for s, rows in of.items() if name in rows} for name in names}
    made = [over(rows) for rows in found.values() if len(rows) > 1]
    if not made:
        raise UserError(f"{folder}: no student of {data} has two seeds")
    return markdown_table(made, COLUMNS)
