"""The table and the figure of the models that come with the library."""

import json

import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.report import row, write_results
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


def test_more_calls_than_a_figure_shows_are_its_guide_alone(pareto):
    row = lambda method, calls: {
        "dataset": "a", "method": method, "sequential_calls": calls, "ms_batch1": calls / 2, "fd": 1 / calls
    }  # fmt: skip
    calls, ms = pareto.panels([row("ddim-48", 48), row("ddim-8", 8), row("srds-30", 30)])
    assert calls.lines == {"ddim": [(8, 1 / 8)]} and ms.lines == {"ddim": [(4.0, 1 / 8)]}
    assert calls.guides == {"ddim-48": [(8, 1 / 48), (8, 1 / 48)]}


@pytest.fixture
def published(tmp_path):
    """A table of the model ``digits`` of two rows, one of them timed; ``change`` makes another."""

    def write(**change):
        sha256 = load_model("digits").teacher.sha256
        timed = {"lcm": {"device": "2 x Some GPU", "jax": "0"}}
        facts = {"teacher": {"sha256": sha256}, "timed": timed} | change
        rows = [row(method="lcm-2", fd=1.0, sequential_calls=2, dataset="digits", ms_batch1=3.0)]
        rows.append(row(method="lcm-4", fd=0.9, sequential_calls=4, dataset="digits"))
        write_results(tmp_path / "results" / "rivals_digits.json", rows, {}, "rivals", facts)

    write()
    return write


def test_timed_rows_of_a_table_stand_beside_those_that_are_measured(pareto, published, tmp_path):
    [other] = pareto.rows_of_table("digits", tmp_path, "Some GPU")
    assert other["method"] == "lcm-2" and other["device"]
    own = [{"method": "ddim-8"}, {"method": "lcm-2", "fd": 0.5}]
    assert pareto.beside(own, [other]) == own
    assert pareto.beside(own[:1], [other]) == [own[0], other]


def test_a_table_of_another_teacher_or_device_is_refused(pareto, published, tmp_path):
    with pytest.raises(UserError, match="timed on 2 x Some GPU, and this is a Other GPU"):
        pareto.rows_of_table("digits", tmp_path, "Other GPU")
    published(timed={})  # each row was timed where it was made
    assert len(pareto.rows_of_table("digits", tmp_path)) == 1
    with pytest.raises(UserError, match=r"timed on .*, and this is a Some GPU"):
        pareto.rows_of_table("digits", tmp_path, "Some GPU")
    published(teacher={"sha256": "0"})
    with pytest.raises(UserError, match="of another teacher than the model digits"):
        pareto.rows_of_table("digits", tmp_path)
    with pytest.raises(UserError, match=r"rivals_digits.json does not exist"):
        pareto.rows_of_table("digits", tmp_path / "nowhere")


def test_tables_alone_need_no_measurement(pareto, published, tmp_path, monkeypatch):
    monkeypatch.setattr(pareto, "ROOT", tmp_path)
    words = [f"--out={tmp_path / 'out'}", f"--runs={tmp_path / 'runs'}", "--tables=only"]
    published()
    path = tmp_path / "results" / "rivals_digits.json"
    stored = json.loads(path.read_text())
    stored["rows"].append(stored["rows"][0] | {"method": "ddim-8", "fd": 2.0})
    path.write_text(json.dumps(stored))
    assert pareto.main(words) == 0
    made = json.loads((tmp_path / "out" / "results" / "pareto.json").read_text())
    assert [r["method"] for r in made["rows"]] == ["lcm-2", "ddim-8"]
    assert made["command"].endswith("--tables=only")
    assert not (tmp_path / "runs").exists()


def test_an_unknown_model_is_named(pareto, tmp_path, capsys):
    assert pareto.main(["--models=nothing", f"--out={tmp_path}", f"--runs={tmp_path}"]) == 2
    assert "pareto: --model nothing: no such model" in capsys.readouterr().err
