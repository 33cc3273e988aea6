"""Tables of ``results/latency_*.json`` and ``results/mfu_*.json``."""

from typing import Any

Results = dict[str, Any]
Lines = list[list[Any]]
START = ("compile_seconds", "warm_seconds")


def samplers(results: Results) -> Lines:
    """Whole samplers: what they take, from start-up to the last image."""
    head = ["network", "pixels", "guidance", "method", "evaluations", "p50 ms", "p95 ms"]
    lines = [[*head, "images/s", "MFU", "first start, s", "from the cache, s", "GiB"]]
    for r in results["rows"]:
        lines.append(
            [
                *(r["network"], r["resolution"], f"{r['guidance']:g}", r["method"]),
                *(r["network_evaluations"], f"{r['p50_ms']:.1f}", f"{r['p95_ms']:.1f}"),
                *(f"{r['images_per_second']:.1f}", f"{r['mfu']:.2f}"),
                # Where the cache had the program already, nothing was compiled.
                *(f"{r[key]:.1f}" if r.get(key) else "–" for key in START),
                f"{r['memory_bytes'] / 2**30:.2f}",
            ]
        )
    return lines


def calls(results: Results) -> Lines:
    """One network call of several states."""
    lines = [["network", "pixels", "states", "p50 ms", "over one state", "MFU", "compiled in, s"]]
    for c in sorted(results["calls"], key=lambda c: (c["network"], c["resolution"], c["batch"])):
        lines.append(
            [
                *(c["network"], c["resolution"], c["batch"], f"{c['p50_ms']:.2f}"),
                *(f"{c['over_one']:.2f}", f"{c['mfu']:.2f}", f"{c['compile_seconds']:.1f}"),
            ]
        )
    return lines


def parts(results: Results) -> Lines:
    """The same call with one part changed or left out."""
    lines = [["states", "part", "ms", "the whole beside it, ms", "saved, ms", "MFU"]]
    for p in results["parts"]:
        numbers = (f"{p[key]:.2f}" for key in ("p50_ms", "whole_ms", "saved_ms"))
        mfu = f"{p['mfu']:.3f}" if "mfu" in p else "–"
        lines.append([p["batch"], p["part"], *numbers, mfu])
    return lines
