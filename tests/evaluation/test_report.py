import json
import re
import subprocess

import jax
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation import report
from drf_jax.evaluation.report import (
    FAMILIES,
    family,
    git_commit,
    markdown_table,
    read_results,
    row,
    with_circumstances,
    write_results,
)


def test_a_row_drops_what_does_not_apply_and_holds_pythons_numbers():
    r = row(method="ddim", fd=np.float32(0.5), samples=np.int64(3), drafts=None)
    assert r == {"method": "ddim", "fd": 0.5, "samples": 3}
    assert type(r["fd"]) is float and type(r["samples"]) is int


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "ddim", "fid": 1.0}, "'fid' is unknown; known: dataset, method"),
        ({"fd": 1.0}, "needs the key 'method'"),
        ({"method": "ddim 4", "fd": float("nan")}, "fd = nan of ddim 4 must be finite"),
    ],
)
def test_rows_outside_the_schema_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        row(**values)


def test_written_results_are_read_back_with_their_circumstances(tmp_path):
    path = tmp_path / "results" / "digits.json"
    rows = [row(method="ddim 4", fd=1.25), row(method="learned", sequential_calls=4)]
    write_results(path, rows, {"seed": 0}, "drf evaluate", {"note": "é"})
    results = read_results(path)
    assert results["rows"] == rows
    assert results["config"] == {"seed": 0} and results["command"] == "drf evaluate"
    assert results["jax"] == jax.__version__ and "cpu" in results["device"].lower()
    assert results["note"] == "é" and results["git"] == git_commit()
    assert [p.name for p in path.parent.iterdir()] == ["digits.json"]


def test_rows_made_elsewhere_say_where(tmp_path):
    path, there = tmp_path / "r.json", {"device": "1 x TPU", "jax": "1.0", "git": "abc"}
    old, new = {"method": "ddim-1", **there}, {"method": "ddim-2"}
    write_results(path, [old], {}, "c")  # all made there: so is the file
    found = read_results(path)
    assert found["rows"] == [{"method": "ddim-1"}] and found["git"] == "abc"
    write_results(path, [*with_circumstances(found), new], {}, "c")
    found = read_results(path)
    assert found["rows"] == [old, new] and found["jax"] == jax.__version__
    write_results(path, with_circumstances(found), {}, "c")
    assert read_results(path) == found


def test_extra_may_not_replace_the_schema(tmp_path):
    with pytest.raises(UserError, match="must not use the keys git"):
        write_results(tmp_path / "r.json", [], {}, "", {"git": "mine"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"rows": 3}', '{"rows": [{"fid": 1}]}'])
def test_unusable_files_are_named(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"r\.json"):
        read_results(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"r\.json does not exist"):
        read_results(tmp_path / "r.json")


def test_the_commit_is_short_or_unknown():
    assert re.fullmatch(r"[0-9a-f]{4,40}(-dirty)?|unknown", git_commit())


def test_the_commit_outside_a_checkout_is_unknown(monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    assert git_commit() == "unknown"


def test_what_is_written_down_makes_no_commit_dirty(tmp_path, monkeypatch):
    git = lambda *words: subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    package = tmp_path / "drf_jax" / "evaluation" / "report.py"
    for file in (package, tmp_path / "results" / "a.json"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1")
    git("init", "-q")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "a")
    monkeypatch.setattr(report, "__file__", str(package))
    monkeypatch.delenv("DRF_COMMIT", raising=False)
    (tmp_path / "results" / "a.json").write_text("2")
    assert re.fullmatch(r"[0-9a-f]{4,40}", git_commit())
    package.write_text("2")
    assert re.fullmatch(r"[0-9a-f]{4,40}-dirty", git_commit())


def test_family_is_the_longest_known_beginning():
    assert family("lcm-lora 4") == "lcm-lora" and family("lcm 4") == "lcm"
    assert family("driffusion-aggressive K=5") == "driffusion-aggressive"
    assert family("mine") == "mine"
    assert all(family(name) == name for name in FAMILIES)


def test_markdown_table_leaves_gaps_visible():
    rows = [
        row(method="ddim|a", sequential_calls=48, fd=1.23456, samples=10000),
        row(method="b", sequential_calls=4),
    ]
    headings = {"method": "method", "sequential_calls": "calls", "fd": "FD", "samples": "n"}
    assert markdown_table(rows, headings).splitlines() == [
        "| method | calls | FD | n |",
        "| :--- | ---: | ---: | ---: |",
        "| ddim\\|a | 48 | 1.23 | 10,000 |",
        "| b | 4 | – | – |",
    ]
    with pytest.raises(UserError, match="column 'calls' is unknown"):
        markdown_table(rows, ["calls"])


def test_results_are_strict_json(tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        write_results(tmp_path / "r.json", [], {"x": float("inf")}, "")
    write_results(tmp_path / "r.json", [], {"x": 1.0}, "")
    json.loads((tmp_path / "r.json").read_text())


def test_markdown_table_shows_the_deviation_beside_its_number():
    rows = [row(method="a", fd=1.5, fd_sd=0.123), row(method="b", fd=2.0)]
    assert markdown_table(rows, ["method", "fd"]).splitlines()[2:] == [
        "| a | 1.5 ± 0.12 |",
        "| b | 2 |",
    ]


def test_a_copy_without_its_history_is_told_its_commit(monkeypatch):
    monkeypatch.setenv("DRF_COMMIT", "934612a")
    assert git_commit() == "934612a"
