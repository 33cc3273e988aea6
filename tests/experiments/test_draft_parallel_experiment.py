"""The draft-parallel experiment on virtual devices: what it compares, and that the images are the same."""

import json

import pytest

from drf_jax.evaluation.report import read_results
from drf_jax.networks.dit import DiT

TINY = DiT(channels=4, patch=2, width=8, depth=1, heads=2, num_classes=3)


@pytest.fixture(scope="module")
def draft_parallel(experiment):
    return experiment("draft_parallel")


@pytest.mark.slow
def test_rows_theory_and_the_same_images(draft_parallel, tmp_path, capsys, quick_compile):
    plan = draft_parallel.Plan({"tiny": TINY}, pixels=(32,), guidance=(4.0,), dtype="float32")
    with quick_compile():
        draft_parallel.main(plan, (8,), [1, 4], 2, tmp_path, "as tested")
    path = tmp_path / "results" / "draft_parallel.json"
    rows = read_results(path)["rows"]
    assert [(r["method"], r["drafts"], r["devices"]) for r in rows] == [
        ("ddim-8", 0, 1),
        ("driffusion-conservative-8", 1, 1),
        ("driffusion-aggressive-9", 1, 1),
        ("driffusion-conservative-4", 4, 1),
        ("driffusion-conservative-4", 4, 4),
        ("driffusion-aggressive-3", 4, 1),
        ("driffusion-aggressive-3", 4, 4),
    ]
    for r, theory in ((rows[4], 2.5), (rows[6], 4.0)):
        assert r["speedup"] == pytest.approx(rows[0]["p50_ms"] / r["p50_ms"])
        assert r["share_of_theory"] == pytest.approx(r["speedup"] / theory)
        assert r["exchanged_bytes"] == 3 * 4 * 4 * 4 * 4
    checks = json.loads(path.read_text())["checks"]
    assert [c["devices"] for c in checks] == [4, 4]
    assert all(c["largest_difference"] < 1e-4 for c in checks)
    assert (tmp_path / "docs" / "pictures" / "draft_parallel.png").exists()
    assert "| tiny | 32 | driffusion-aggressive-3 | 4 | 4 |" in capsys.readouterr().out
    draft_parallel.join([path, path], tmp_path / "joined")
    joined = read_results(tmp_path / "joined" / "results" / "draft_parallel.json")
    assert joined["rows"] == [*rows, *rows] and joined["command"] == "as tested; as tested"
    assert {r["command"] for r in rows} == {"as tested"} and len(joined["checks"]) == 4
