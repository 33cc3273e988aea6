"""The latency experiment: its numbers are finite and of the right things; the U-Net's loop is cheap."""

import json

import numpy as np
import pytest

from drf_jax.evaluation.report import read_results

TINY_UNET = {"width": 8, "multipliers": (1,), "blocks": 1, "attention": (False,), "heads": 1}


@pytest.fixture(scope="module")
def loops(experiment):
    return experiment("loops")


@pytest.mark.slow
def test_a_tiny_run_writes_the_schema(loops, tmp_path, capsys, monkeypatch):
    methods = ["ddim-4", "driffusion-aggressive-4"]
    every = loops.Subject.methods
    few = lambda one: [method for method in every(one) if method.name in methods]
    monkeypatch.setattr(loops.Subject, "methods", few)
    monkeypatch.setattr(loops, "DRAFTS", (1, 3))
    chosen = [
        loops.subject("DiT", {"name": "dit", "depth": 1, "width": 8, "heads": 2}, 8),
        loops.subject("U-Net", {"name": "unet", **TINY_UNET}, 8),
    ]
    loops.main(chosen, 2, tmp_path, {"smoke": True}, "as tested")
    (path,) = (tmp_path / "results").glob("latency_*.json")
    rows = read_results(path)["rows"]
    assert {r["method"] for r in rows} == set(methods)
    for r in rows:
        assert 0 < r["p50_ms"] <= r["p95_ms"] and r["batch"] == 1 and r["weights"] == "random"
    found = json.loads(path.read_text())
    assert [(e["network"], e["drafts"]) for e in found["parallel"]] == [
        (name, k) for name in ("DiT", "U-Net") for k in (1, 3)
    ]
    assert len(found["loops"]) == 2 * len(methods)
    ratios = [e["ratio"] for e in found["parallel"] + found["loops"]]
    assert np.all(np.isfinite(ratios)) and min(ratios) > 0
    worst = max(e["ratio"] for e in found["loops"] if e["network"] == "U-Net")
    assert found["loop_worst"] == worst
    assert f"worst loop ratio {worst:.3f}" in capsys.readouterr().out
    assert (tmp_path / "docs" / "pictures" / f"{path.stem}.png").exists()


def test_widths_add_up_to_the_costs_of_a_method(loops):
    methods = loops.subject("U-Net", {"name": "unet", **TINY_UNET}, 8).methods()
    assert {m.drafts for m in methods} == {0, 3, 4}
    for method in methods:
        widths = loops.widths(method)
        assert sum(widths.values()) == method.sequential_calls
        assert sum(w * count for w, count in widths.items()) == method.network_evaluations
        assert set(widths) == ({1, method.drafts} if method.drafts else {1})


def test_alternating_calls_are_timed_apart(loops):
    order = []
    calls = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    times = loops.alternate(calls, 4)
    assert order == ["a", "b"] + ["a", "a", "b", "b"] * 4
    assert all(t.shape == (4,) and np.all(t > 0) for t in times.values())
