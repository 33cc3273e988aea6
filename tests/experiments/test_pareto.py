"""The table and the figure of the models that come with the library."""

import json

import pytest

from drf_jax.zoo.model import load_model
from drf_jax.zoo.pack import pack


@pytest.fixture
def pareto(experiment):
    return experiment("pareto")


def test_a_model_is_measured_and_drawn_and_again_at_once(
    pareto, demo, quick_compile, tmp_path, capsys, monkeypatch
):
    pack(demo / "learned-4", tmp_path / "tiny")
    words = [f"--models={tmp_path / 'tiny'}", f"--out={tmp_path}", f"--runs={tmp_path / 'runs'}"]
    with quick_compile():
        assert pareto.main([*words, "--smoke"]) == 0
    stored = json.loads((tmp_path / "results" / "pareto.json").read_text())
    methods = {r["method"]: r for r in stored["rows"]}
    student = load_model(tmp_path / "tiny").method().name
    assert methods.keys() == {"ddim-2", "ddim-3", student}
    assert all(r["fd"] > 0 and r["ms_batch1"] > 0 for r in methods.values())
    assert methods[student]["train_seconds"] > 0
    assert (tmp_path / "docs" / "pictures" / "pareto.png").exists()
    assert f"| {student} |" in capsys.readouterr().out

    def never(*_, **__):
        raise AssertionError("sampled again")

    monkeypatch.setattr(pareto.sys.modules["drf_jax.evaluation.resumable"], "generate", never)
    assert pareto.main([*words, "--smoke"]) == 0
    again = json.loads((tmp_path / "results" / "pareto.json").read_text())
    assert again["rows"] == stored["rows"]


def test_panels_are_of_one_data_set_each_and_have_the_teacher_as_a_guide(pareto):
    row = lambda data, method, calls, fd: {
        "dataset": data, "method": method, "sequential_calls": calls, "ms_batch1": 2.5 * calls, "fd": fd
    }  # fmt: skip
    rows = [row("a", "ddim-8", 8, 0.1), row("a", "ddim-4", 4, 0.3), row("b", "ddim-2", 2, 0.4)]
    rows.append(row("a", "learned-4", 4, 0.2))
    calls, ms, *others = pareto.panels(rows)
    assert [p.title for p in (calls, ms, *others)] == ["a", "a", "b", "b"]
    assert calls.lines == {"ddim": [(8, 0.1), (4, 0.3)], "learned": [(4, 0.2)]}
    assert calls.guides == {"ddim-8": [(4, 0.1), (8, 0.1)]}
    assert ms.lines["learned"] == [(10.0, 0.2)]


def test_an_unknown_model_is_named(pareto, tmp_path, capsys):
    assert pareto.main(["--models=nothing", f"--out={tmp_path}", f"--runs={tmp_path}"]) == 2
    assert "pareto: --model nothing: no such model" in capsys.readouterr().err
