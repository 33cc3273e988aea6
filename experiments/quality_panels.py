"""Panels of FD against sequential calls and against the milliseconds of one image, family by family."""

from collections import defaultdict
from collections.abc import Sequence

from drf_jax.evaluation.lines import Panel
from drf_jax.evaluation.report import Row, family

AXES = {"sequential_calls": "sequential network calls", "ms_batch1": "milliseconds, batch 1"}
"""What FD is shown against."""
MOST_CALLS = 20
"""Of a row in a line."""


def quality_panels(title: str, rows: Sequence[Row]) -> list[Panel]:
    """A panel for each of `AXES` that some rows have.

    DDIM in the most calls is a guide. Rows of more calls than `MOST_CALLS` are in no line.
    """
    ddim = [r for r in rows if family(r["method"]) == "ddim"]
    last = max(ddim, key=lambda r: r["sequential_calls"], default=None)
    own = [r for r in rows if r["sequential_calls"] <= MOST_CALLS] or rows
    made = []
    for key, label in AXES.items():
        lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for r in own:
            if key in r:
                lines[family(r["method"])].append((r[key], r["fd"]))
        xs = [x for line in lines.values() for x, _ in line]
        guides = (
            {last["method"]: [(x, last["fd"]) for x in (min(xs), max(xs))]} if last and xs else {}
        )
        if lines:
            made.append(Panel(title, label, "FD", dict(lines), guides))
    return made
