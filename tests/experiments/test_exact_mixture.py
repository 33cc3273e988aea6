"""The exact-denoiser figures, in small."""

import json

import pytest

from drf_jax.evaluation.report import read_results


@pytest.fixture(scope="module")
def written(experiment, tmp_path_factory):
    module = experiment("exact_mixture")
    out = tmp_path_factory.mktemp("exact_mixture")
    module.main(samples=48, seed=0, smoke=True, out=out, command="as tested")
    return out


@pytest.fixture(scope="module")
def rows(written):
    return read_results(written / "results" / "exact_mixture.json")["rows"]


def one(rows, **values):
    found = [r for r in rows if all(r.get(key) == value for key, value in values.items())]
    assert len(found) == 1
    return found[0]


def test_aggressive_rounds_are_twice_as_close_as_ddim_at_eight_calls(rows):
    ours = one(rows, method="driffusion-aggressive-8", refinements=1)
    ddim = one(rows, method="ddim-8")
    assert ours["sequential_calls"] == ddim["sequential_calls"] == 8
    assert 0 < 2 * ours["rmse_to_teacher"] < ddim["rmse_to_teacher"]
    assert 2 * ours["rmse_to_ode"] < ddim["rmse_to_ode"]


def test_as_many_refinements_as_drafts_are_exact(rows):
    several = [r for r in rows if "drafts" in r and "tolerance" not in r]
    exact = [r for r in several if r["refinements"] == r["drafts"]]
    assert {(r["mode"], r["form"]) for r in exact} == {
        (mode, form) for mode in ("conservative", "aggressive") for form in ("noise", "data")
    }
    for r in exact:
        assert r["rmse_to_teacher_rms"] < 1e-10 and r["rmse_to_ode"] > 1e-3


def test_call_counts_are_the_formulae(rows):
    counted = [r for r in rows if "mode" in r and "tolerance" not in r]
    assert len(counted) >= 8
    for r in counted:
        k, m = r["drafts"], r["refinements"]
        if r["mode"] == "conservative":
            rounds, before, each = -(-48 // (k + 1)), 0, 1
        else:
            rounds, before, each = -(-48 // k), 1, 0
        assert r["sequential_calls"] == before + rounds * (each + m)
        assert r["network_evaluations"] == before + rounds * (each + m * k)
        assert r["method"].endswith(f"-{r['sequential_calls']}")


def test_a_tolerance_lies_between_one_refinement_and_all(rows):
    between = one(rows, tolerance=0.01)
    fast = one(rows, method="driffusion-aggressive-8", refinements=1)
    assert 8 < between["sequential_calls"] < 50
    assert 1e-10 < between["rmse_to_teacher"] < fast["rmse_to_teacher"]


def test_both_files_are_written(written):
    results = json.loads((written / "results" / "exact_mixture.json").read_text())
    assert results["config"]["teacher_steps"] == 48 and results["command"] == "as tested"
    picture = written / "docs" / "pictures" / "exact_mixture.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
