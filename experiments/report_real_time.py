"""Tables of ``results/latency_*.json`` and ``results/mfu_*.json``."""

from typing import Any

Results = dict[str, Any]
Lines = list[list[Any]]
START = ("compile_seconds", "warm_seconds")


def samplers(results: Results) -> Lines:
    """Whole samplers: what they take, from start-up to the last image."""
    head = ["network", "pixels", "guidance", "method", "evaluations", "between drafts"]
    lines = [
        [*head, "p50 ms", "p95 ms", "images/s", "MFU", "first start, s", "from the cache, s", "GiB"]
    ]
    for r in results["rows"]:
        lines.append(
            [
                *(r["network"], r["resolution"], f"{r['guidance']:g}", r["method"]),
                *(
                    r["network_evaluations"],
                    r.get("cross_draft", "–"),
                    f"{r['p50_ms']:.1f}",
                    f"{r['p95_ms']:.1f}",
                ),
                *(f"{r['images_per_second']:.1f}", f"{r['mfu']:.2f}"),
                # Where the cache had the program already, nothing was compiled.
                *(f"{r[key]:.1f}" if r.get(key) else "–" for key in START),
                f"{r['memory_bytes'] / 2**30:.2f}",
            ]
        )
    return lines


def start_up(results: Results) -> Lines:
    """From networks in memory to the first image, with an empty and with a full cache of programs."""
    seconds = ("compile_seconds", "first_image_seconds", "warm_seconds", "warm_image_seconds")
    head = ["network", "pixels", "what", "decoder", "Triton's products", "first start, s"]
    lines = [[*head, "first image, s", "from the cache, s", "first image from the cache, s"]]
    for r in results["rows"]:
        triton = "xla_gpu_enable_triton_gemm=false" not in r.get("xla_flags", "")
        yes = lambda there: "yes" if there else "no"
        what = ", ".join(filter(None, (r["method"], r.get("cross_draft"))))
        own = (r["network"], r["resolution"], what, yes("decoder" in r), yes(triton))
        lines.append([*own, *(f"{r[key]:.1f}" for key in seconds)])
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
