"""Tables of several devices, for `report.py`."""

import math
from typing import Any

Results = dict[str, Any]
Lines = list[list[Any]]

PREDICTED = 8
"""Devices of which there were none: their line is a prediction."""


def calls(mode: str, steps: int, drafts: int) -> int:
    """Sequential calls of a training-free sampler with K drafts on a grid of so many steps."""
    if mode == "conservative":
        return 2 * math.ceil(steps / (drafts + 1))
    return 1 + math.ceil(steps / drafts)


def draft_parallel(results: Results) -> Lines:
    """A line for each mode and number of devices, and what is to be expected of eight.

    With t_1 the milliseconds of a serial call and C_n the sequential calls on n devices, a call takes t_n / C_n, so
    eight should take C_8 (t_1 + e), with e = t_n / C_n − t_1 of the most devices there were.
    """
    head = ["network", "pixels", "mode", "DDIM steps", "devices", "calls", "p50 ms", "p95 ms"]
    head += [
        "same on one device, ms",
        "speed-up",
        "share of theory",
        "bytes a round",
        "GiB a device",
    ]
    serial = {r["command"]: r for r in results["rows"] if not r["drafts"]}
    batched = {
        (r["command"], r["mode"], r["drafts"]): r
        for r in results["rows"]
        if r["drafts"] and r["devices"] == 1
    }
    lines, most = [], {}
    for r in results["rows"]:
        if r["devices"] == 1:
            continue
        first = serial[r["command"]]
        steps, key = first["sequential_calls"], (r["command"], r["mode"], r["drafts"])
        kind = (r["network"], r["resolution"], r["mode"], steps)
        if r["devices"] > most.get(kind, (0,))[0]:
            each = first["p50_ms"] / steps
            extra = r["p50_ms"] / r["sequential_calls"] - each
            most[kind] = r["devices"], each, extra, first["p50_ms"]
        lines.append(
            [
                *kind,
                r["devices"],
                r["sequential_calls"],
                f"{r['p50_ms']:.1f}",
                f"{r['p95_ms']:.1f}",
                f"{batched[key]['p50_ms']:.1f}",
                f"{r['speedup']:.2f}",
                f"{r['share_of_theory']:.3f}",
                r["exchanged_bytes"],
                f"{r['memory_bytes'] / 2**30:.2f}",
            ]
        )
    for kind, (_, each, extra, whole) in most.items():
        mode, steps = kind[2:]
        n = calls(mode, steps, PREDICTED)
        speedup = whole / (n * (each + extra))
        theory = (PREDICTED + 1) / 2 if mode == "conservative" else PREDICTED
        share = f"{speedup / theory:.3f}"
        ms = f"{n * (each + extra):.1f}"
        own = [f"{PREDICTED}, predicted", n, ms, "–", "–", f"{speedup:.2f}", share, "–", "–"]
        lines.append([*kind, *own])
    order = ("conservative", "aggressive")
    lines.sort(key=lambda x: (x[0], x[1], x[3], order.index(x[2]), str(x[4])))
    return [head, *lines]


def train_scaling(results: Results) -> Lines:
    """A line for each layout and number of devices, with the efficiency that was predicted.

    Where there were no 4 or 8 devices, their lines are predictions.

    An all-reduce of G bytes sends 2 (n − 1) / n G from each of n devices, so where it takes c_m on the most that there
    were, m, it should take c_n = c_m (1 − 1/n) / (1 − 1/m), and an update t_1 + c_n, were none of it hidden.
    """
    head = ["network", "layout", "devices", "batch", "p50 ms", "images/s", "over one device"]
    head += ["efficiency", "predicted", "MFU", "GiB a device"]
    lines, one, most = [head], {}, {}
    for r in results["updates"]:
        size = r["network"], r["batch"] // r["devices"]
        if r["devices"] == 1:
            one[size] = r
        elif r["devices"] >= most.get(size, r)["devices"]:
            most[size] = r
        own = [r["network"], r["layout"], r["devices"], r["batch"], f"{r['p50_ms']:.1f}"]
        over = r["devices"] * r.get("efficiency", 1)
        share = [f"{r[key]:.3f}" if key in r else "–" for key in ("efficiency", "predicted")]
        mfu = f"{r['mfu']:.2f}" if r["mfu"] else "–"
        lines.append(
            [
                *own,
                round(r["images_per_second"]),
                f"{over:.2f}",
                *share,
                mfu,
                f"{r['memory_bytes'] / 2**30:.1f}",
            ]
        )
    return lines + [
        expected(one[size], most[size], n)
        for size in most
        for n in (4, PREDICTED)
        if n > most[size]["devices"]
    ]


def expected(one: Results, most: Results, n: int) -> list[Any]:
    """The line of n devices, from the rows of one and of the most that there were."""
    share = (1 - 1 / n) / (1 - 1 / most["devices"])
    ms = one["p50_ms"] + most["sum_ms"] * share
    efficiency, batch = one["p50_ms"] / ms, n * one["batch"]
    own = [one["network"], "replicate", f"{n}, predicted", batch, f"{ms:.1f}"]
    return [
        *own,
        round(1e3 * batch / ms),
        f"{n * efficiency:.2f}",
        "–",
        f"{efficiency:.3f}",
        "–",
        "–",
    ]
