"""A table of rivals at a glance: FD of every family against sequential calls."""

from typing import Any

from drf_jax.evaluation.report import family

CALLS = (1, 2, 4, 8)


def depths(results: dict[str, Any]) -> list[list[Any]]:
    """A line a family with a row of 1, 2, 4 or 8 calls, the lowest FD of each number bold; the last line is DDIM's in
    the most calls."""
    made = results["rows"]
    own = max(
        (r for r in made if family(r["method"]) == "ddim"), key=lambda r: r["sequential_calls"]
    )
    found: dict[str, dict[int, float]] = {}
    for r in made:
        if r["sequential_calls"] in CALLS:
            line = found.setdefault(family(r["method"]), {})
            calls = int(r["sequential_calls"])
            line[calls] = min(r["fd"], line.get(calls, r["fd"]))
    best = {n: min((line[n] for line in found.values() if n in line), default=0.0) for n in CALLS}
    lines: list[list[Any]] = [["FD", *(f"{n} call{'s' * (n > 1)}" for n in CALLS)]]

    def cell(line: dict[int, float], n: int) -> str:
        if n not in line:
            return "–"
        return f"**{line[n]:.3g}**" if line[n] == best[n] else f"{line[n]:.3g}"

    lines += [[name, *(cell(line, n) for n in CALLS)] for name, line in found.items()]
    last = f"ddim in {own['sequential_calls']:g} calls: {own['fd']:.3g}"
    return [*lines, [last, *[""] * len(CALLS)]]
