import json
from pathlib import Path

import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.report import row, write_results

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report(experiment):
    return experiment("report")


@pytest.fixture
def root(tmp_path):
    """A project with a table in README.md and one in docs/."""
    rows = [row(method="ddim-8", sequential_calls=8, fd=2.5, ms_batch1=3.0)]
    write_results(tmp_path / "results" / "digits_demo.json", rows, {}, "drf demo")
    write_results(tmp_path / "results" / "mine.json", rows, {}, "mine")
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# x\n<!-- demo -->\n<!-- /demo -->\n<!-- note -->\nend\n")
    (tmp_path / "docs" / "a.md").write_text("<!-- mine -->\nold\n\n| x |\n<!-- /mine -->\n")
    return tmp_path


def test_tables_are_rendered_between_their_markers(report, root):
    assert report.main(check=False, root=root) == 0
    assert (root / "README.md").read_text().splitlines() == [
        "# x",
        "<!-- demo -->",
        "| method | sequential calls | evaluations | drafts | FD | RMSE to teacher | ms (batch 1) |",
        "| :--- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| ddim-8 | 8 | – | – | 2.5 | – | 3 |",
        "<!-- /demo -->",
        "<!-- note -->",
        "end",
    ]
    page = (root / "docs" / "a.md").read_text()
    assert "old" not in page and "| method | sequential calls | FD | ms (batch 1) |" in page
    assert report.main(check=True, root=root) == 0


def test_a_stale_table_is_told_and_left_alone(report, root, capsys):
    before = (root / "docs" / "a.md").read_text()
    assert report.main(check=True, root=root) == 1
    assert "README.md is stale" in capsys.readouterr().err
    assert (root / "docs" / "a.md").read_text() == before
    report.main(check=False, root=root)
    results = root / "results" / "mine.json"
    results.write_text(results.read_text().replace("2.5", "2.6"))
    assert report.main(check=True, root=root) == 1
    err = capsys.readouterr().err
    assert "docs/a.md is stale" in err and "README.md is stale" not in err


def test_other_tables_show_all_in_which_their_rows_differ(report):
    made = [
        row(method="a", dataset="d", batch=n, p50_ms=1.5 * n, p95_ms=1.0 + n, fd=1.0, fd_sd=0.1)
        for n in (1, 8)
    ]
    assert report.every_column({"rows": made}).splitlines() == [
        "| method | batch | FD | p50 ms | p95 ms |",
        "| :--- | ---: | ---: | ---: | ---: |",
        "| a | 1 | 1 ± 0.1 | 1.5 | 2 |",
        "| a | 8 | 1 ± 0.1 | 12 | 9 |",
    ]


def test_a_missing_results_file_is_named(report, root, capsys):
    (root / "results" / "mine.json").unlink()
    assert report.main(check=False, root=root) == 1
    assert "docs/a.md: results file" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"mine\.json does not exist"):
        report.render((root / "docs" / "a.md").read_text(), root / "results")


def test_what_was_left_out_stands_beside_its_part(report):
    data = {
        "dataset": "toys8",
        "image_shape": [8, 8, 3],
        "splits": {"train": 1200},
        "first_epoch_images_per_second": 1234.5,
        "later_images_per_second": 56789.0,
        "counts": {"red": 700, "blue": 500},
        "licences": {"red": "MIT"},
        "left_out": {"red: grey": 3, "red: broken": 1, "reddish: x": 9},
    }
    lines = report.data_sets({"data_sets": [data]}).splitlines()
    assert lines[2] == "| toys8 | 8×8×3 | 1,200 | 0 | 1,200 | 56,800 |"
    assert lines[-2:] == [
        "| toys8 red | 700 | MIT | 3 (grey), 1 (broken) |",
        "| toys8 blue | 500 |  | none |",
    ]


def test_rivals_share_the_beginning_of_their_commands(report):
    made = [
        row(
            method="lcm-4",
            sequential_calls=4,
            fd=2.0,
            kid=0.1,
            kid_sd=0.3,
            command="run x --only=lcm",
        ),
        row(method="ddim-4", sequential_calls=4, fd=3.0, command="run x --only=free --more"),
    ]
    lead, _, head, _, *lines = report.rivals({"rows": made}).splitlines()
    assert "`run x`" in lead and head.endswith("training, s | remade with |")
    assert lines[0].startswith("| lcm-4 | 4 | – | 2 | 0.1 |") and lines[0].endswith(
        "`--only=lcm` |"
    )
    assert lines[1].endswith("| `--only=free --more` |")
    assert "judge" not in head
    _, _, head, _, *lines = report.rivals(
        {"rows": [made[0], made[1] | {"fd_judge": 7.0}]}
    ).splitlines()
    assert "| FD | FD, judge | KID |" in head
    assert lines[0].startswith("| lcm-4 | 4 | – | 2 | – | 0.1 |")
    assert lines[1].startswith("| ddim-4 | 4 | – | 3 | 7 | – |")
    assert "`--only=lcm`" in report.rivals({"rows": made[:1]})


def test_ablations_are_told_apart_by_their_change(report):
    shared = {"method": "learned-4", "sequential_calls": 4, "kid_sd": 0.3}
    made = [
        row(**shared, ablation="learned", fd=2.0, kid=0.1),
        row(**shared, ablation="drafts=8", fd=1.0),
    ]
    lead, _, head, _, *lines = report.ablations({"rows": made, "command": "run y"}).splitlines()
    assert "`run y`" in lead and head.startswith("| change | method |")
    assert lines[0].startswith("| learned | learned-4 | – | – | – | 2 | 0.1 |")
    assert lines[1].startswith("| drafts=8 | learned-4 | – | – | – | 1 | – |")


def test_the_tables_of_this_repository_are_current(report, capsys):
    assert report.main(check=True) == 0, capsys.readouterr().err


def test_every_results_file_keeps_to_the_schema(report):
    for path in (ROOT / "results").glob("*.json"):
        results = report.read_results(path)
        assert {"rows", "device", "jax", "git", "command", "config"} <= results.keys()
        assert json.dumps(results)


def test_eight_devices_are_predicted_from_the_calls_of_four(report):
    """With no time lost between calls, the speed-up is the ratio of calls."""

    def of(mode, method, drafts, devices, calls, ms):
        own = {"network": "x", "resolution": 64, "mode": mode, "method": method, "command": "c"}
        cost = {"drafts": drafts, "devices": devices, "sequential_calls": calls, "memory_bytes": 1}
        more = {"speedup": 48 / ms, "share_of_theory": 1.0, "exchanged_bytes": 2}
        return own | cost | more | {"p50_ms": ms, "p95_ms": ms}

    rows = [
        of(None, "ddim-48", 0, 1, 48, 48.0),
        of("aggressive", "driffusion-aggressive-13", 4, 1, 13, 40.0),
        of("aggressive", "driffusion-aggressive-13", 4, 4, 13, 13.0),
    ]
    head, measured, predicted = report.draft_parallel({"rows": rows})
    column = {name: i for i, name in enumerate(head)}
    assert measured[column["devices"]] == 4
    assert predicted[column["devices"]] == "8, predicted"
    assert predicted[column["calls"]] == 7
    assert float(predicted[column["speed-up"]]) == pytest.approx(48 / 7, abs=0.01)


def test_training_on_several_devices_is_told_with_what_was_predicted(report):
    one = {"network": "x", "layout": "fsdp", "batch": 2, "memory_bytes": 2**30, "mfu": None}
    rows = [
        one | {"devices": 1, "batch": 1, "p50_ms": 5.0, "images_per_second": 400.0},
        one | {"devices": 1, "p50_ms": 10.0, "images_per_second": 200.0},
        one
        | {"devices": 2, "batch": 4, "p50_ms": 12.5, "images_per_second": 320.0}
        | {"efficiency": 0.8, "predicted": 0.9, "sum_ms": 2.0},
    ]
    head, _, first, second, four, eight = report.train_scaling({"updates": rows})
    # 3/4 and 7/8 of the bytes where 1/2 took 2 ms.
    for line, n, ms in ((four, 4, 13.0), (eight, 8, 13.5)):
        told = dict(zip(head, line, strict=True))
        assert (told["devices"], told["batch"]) == (f"{n}, predicted", 2 * n)
        assert (told["p50 ms"], told["predicted"]) == (f"{ms:.1f}", f"{10 / ms:.3f}")
        assert told["over one device"] == f"{n * 10 / ms:.2f}"
    line = dict(zip(head, second, strict=True))
    assert (line["over one device"], line["efficiency"], line["predicted"]) == (
        "1.60",
        "0.800",
        "0.900",
    )
    assert dict(zip(head, first, strict=True))["efficiency"] == "–"


def of_seed(root, seed, **fd):
    same = {"dataset": "digits", "samples": 16, "network_evaluations": 4, "sequential_calls": 4}
    rows = [
        row(method=f"{name}-4", fd=value, kid=0.5, train_seconds=60.0, **same)
        for name, value in fd.items()
    ]
    rows.append(row(method="ddim-4", fd=9.0, **same))
    name = f"rivals_digits_seed{seed}.json" if seed else "rivals_digits.json"
    write_results(root / "results" / name, rows, {}, "rivals")


def test_seeds_are_one_line_a_student_with_its_deviation(report, root):
    page = root / "docs" / "a.md"
    page.write_text("<!-- rivals_digits_seeds -->\n<!-- /rivals_digits_seeds -->\n")
    of_seed(root, 0, step=1.0, learned=0.5, lcm=2.0)
    assert report.main(check=False, root=root) == 1  # one seed has no deviation
    of_seed(root, 1, step=2.0, learned=0.5)
    of_seed(root, 12, step=3.0)
    assert report.main(check=False, root=root) == 0
    assert page.read_text().splitlines()[3:5] == [
        "| step-4 | 4 | 4 | 3 | 2 ± 1 | 0.5 ± 0 | – | – | – |",
        "| learned-4 | 4 | 4 | 2 | 0.5 ± 0 | 0.5 ± 0 | – | – | – |",
    ]
    assert "lcm" not in page.read_text() and "ddim" not in page.read_text()


def test_seeds_that_are_no_repetition_are_refused(report, root, capsys):
    (root / "docs" / "a.md").write_text(
        "<!-- rivals_digits_seeds -->\n<!-- /rivals_digits_seeds -->\n"
    )
    of_seed(root, 0, step=1.0)
    of_seed(root, 1, step=1.0)
    path = root / "results" / "rivals_digits_seed1.json"
    path.write_text(path.read_text().replace('"samples": 16', '"samples": 32'))
    assert report.main(check=False, root=root) == 1
    assert "step-4, seed 1: samples is 32, not 16" in capsys.readouterr().err


def test_families_stand_against_calls(report):
    of = lambda name, calls, fd: row(method=f"{name}-{calls}", sequential_calls=calls, fd=fd)
    made = [of("ddim", 48, 2.0), of("ddim", 4, 9.0), of("lcm", 1, 5.0), of("lcm", 4, 3.5)]
    made += [of("paradigms-window", 6.5, 1.0), of("hybrid-lcm", 4, 2.456), of("ddim", 1, 60.0)]
    made += [row(method="lcm-short-4", sequential_calls=4, fd=4.5)]
    assert report.depths({"rows": made}) == [
        ["FD", "1 call", "2 calls", "4 calls", "8 calls"],
        ["ddim", "60", "–", "9", "–"],
        ["lcm", "**5**", "–", "3.5", "–"],
        ["hybrid-lcm", "–", "–", "**2.46**", "–"],
        ["ddim in 48 calls: 2", "", "", "", ""],
    ]


def test_a_frontier_has_what_nobody_beats(experiment):
    frontier = experiment("report_frontier").frontier
    row = lambda method, ms, fd: {"method": method, "fd": fd} | ({"ms_batch1": ms} if ms else {})
    rows = [row("slow", 9.0, 1.0), row("fast", 2.0, 5.0), row("beaten", 3.0, 5.0)]
    rows += [row("twin", 2.0, 6.0), row("untimed", None, 0.1), row("middle", 4.0, 2.0)]
    assert [r["method"] for r in frontier({"rows": rows})] == ["fast", "middle", "slow"]
    assert frontier({"rows": []}) == []
