"""The rows of a table that nobody beats: each has the lowest FD of all that take no more time."""

from typing import Any

from drf_jax.evaluation.report import Row

COLUMNS = {
    "method": "method",
    "sequential_calls": "sequential calls",
    "network_evaluations": "evaluations",
    "ms_batch1": "ms (batch 1)",
    "fd": "FD",
    "kid": "KID",
    "recall": "recall",
    "train_seconds": "training, s",
}


def frontier(results: dict[str, Any]) -> list[Row]:
    """Those of the rows with milliseconds that no other is better than in FD and as fast as, the fastest first."""
    timed = [r for r in results["rows"] if "ms_batch1" in r]
    kept: list[Row] = []
    for r in sorted(timed, key=lambda r: (r["ms_batch1"], r["fd"])):
        if not kept or r["fd"] < kept[-1]["fd"]:
            kept.append(r)
    return [{key: r[key] for key in COLUMNS if key in r} for r in kept]
