"""Renders ``results/*.json`` into the tables of README.md and docs/*.md; no table is typed by hand.

    python experiments/report.py             writes every table anew
    python experiments/report.py --check     exits with 1 if a table isn't what its results file gives

A table stands between two markers, ``<!-- NAME -->`` and ``<!-- /NAME -->``, each on a line of its own. ``TABLES`` says
which file it comes from and what it shows; any other NAME shows the rows of ``results/NAME.json``, with all in which
they differ.
"""

import argparse
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from report_depths import depths
from report_frontier import COLUMNS as FRONTIER
from report_frontier import frontier
from report_real_time import calls, parts, samplers, start_up
from report_scale import draft_parallel, train_scaling
from report_seeds import seeds

from drf_jax.errors import UserError
from drf_jax.evaluation.report import KEYS, markdown_table, read_results
from drf_jax.runs.evaluate import COLUMNS

ROOT = Path(__file__).resolve().parents[1]
MARKED = re.compile(
    r"(?P<open>^<!-- (?P<name>\w+) -->)\n.*?(?P<close>^<!-- /(?P=name) -->)",
    re.MULTILINE | re.DOTALL,
)
Results = dict[str, Any]


def rows(columns: dict[str, str], results: Results) -> str:
    """These columns of the rows: key -> heading."""
    return markdown_table(results["rows"], columns)


def every_column(results: Results) -> str:
    """What `drf evaluate` shows of the rows, and all else in which they differ."""
    made = results["rows"]
    differ = {key for key in KEYS if len({row.get(key) for row in made}) > 1}
    shown = ["method", *(key for key in KEYS if key != "method")]
    hidden = {key for key in KEYS if key.endswith("_sd")}  # stands beside its number
    keys = [key for key in shown if key in differ | COLUMNS.keys() and key not in hidden]
    keys = [key for key in keys if any(key in row for row in made)]
    return rows({key: COLUMNS.get(key, key.replace("_", " ")) for key in keys}, results)


def plain_table(lines: list[list[Any]]) -> str:
    """A Markdown table; the first line is the head."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in x] for x in lines]
    cells.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


def data_sets(results: Results) -> str:
    """Counts and speeds of the prepared data sets, then the parts of those that have parts."""
    head = ["data set", "image", "train", "test", "first epoch, images/s", "later, images/s"]
    lines, parts = [head], [["part", "images", "licence", "left out"]]
    for data in results["data_sets"]:
        lines.append(
            [
                data["dataset"],
                "×".join(map(str, data["image_shape"])),
                data["splits"]["train"],
                data["splits"].get("test", 0),
                int(round(data["first_epoch_images_per_second"], -2)),
                int(round(data["later_images_per_second"], -2)),
            ]
        )
        for part, count in data["counts"].items():
            reasons = [
                f"{n} ({why.removeprefix(part + ': ')})"
                for why, n in data["left_out"].items()
                if why.startswith(f"{part}: ")
            ]
            name, licence = f"{data['dataset']} {part}", data["licences"].get(part, "")
            parts.append([name, count, licence, ", ".join(reasons) or "none"])
    return plain_table(lines) + ("\n" + plain_table(parts) if len(parts) > 1 else "")


def throughput(results: Results) -> str:
    """Images a second of each network, a line a batch size."""
    lines = results["images_per_second"]
    networks = [key for key in lines[0] if key not in ("batch", "images")]
    cells = [[line["batch"], *(int(line[key]) for key in networks)] for line in lines]
    return plain_table([["batch", *(f"{key}, images/s" for key in networks)], *cells])


def plans(results: Results) -> str:
    """What each program needs of a chip, and the least time that it can take."""
    head = ["program", "chips", "mesh (data × draft)", "batch", "GiB a chip", "TFLOP a chip"]
    lines = [[*head, "collectives", "least ms"]]
    for plan in results["plans"]:
        if "refused" in plan:
            lines.append([plan["subject"], plan["topology"], plan["refused"], *[""] * 5])
            continue
        exchanged = [
            f"{c['count']} {c['kind']}, {c['payload'] / 1e6:,.3g} MB" for c in plan["collectives"]
        ]
        least = plan["estimate"]
        lines.append(
            [
                plan["subject"],
                plan["topology"],
                f"{plan['mesh']['data']} × {plan['mesh']['draft']}",
                plan["batch"],
                f"{plan['bytes']['total'] / 2**30:.2f} of {plan['chip_bytes'] / 2**30:.0f}",
                f"{plan['flops'] / 1e12:.3g}",
                "; ".join(exchanged) or "none",
                f"{1e3 * least['seconds']:.3g} ({least['bound']})",
            ]
        )
    return plain_table(lines)


RIVALS = {
    "method": "method",
    "sequential_calls": "sequential calls",
    "network_evaluations": "evaluations",
    "fd": "FD",
    "fd_judge": "FD, judge",
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "rmse_to_teacher": "RMSE to teacher",
    "ms_batch1": "ms (batch 1)",
    "train_seconds": "training, s",
    "command": "remade with",
}


def rivals(results: Results) -> str:
    """Every method at every depth, each with what its command adds to that of all."""
    words = [row["command"].split() for row in results["rows"]]
    last = min(map(len, words)) - 1
    same = next((i for i in range(last) if len({own[i] for own in words}) > 1), last)
    short = [
        # A KID's deviation over subsets would make the table wide.
        {key: row[key] for key in RIVALS if key in row} | {"command": f"`{' '.join(own[same:])}`"}
        for row, own in zip(results["rows"], words, strict=True)
    ]
    lead = f"Every row is remade by `{' '.join(words[0][:same])}` and what stands at its end.\n\n"
    judged = any("fd_judge" in row for row in short)
    shown = {key: name for key, name in RIVALS.items() if judged or key != "fd_judge"}
    return lead + markdown_table(short, shown)


ABLATIONS = {
    "ablation": "change",
    "method": "method",
    "network_evaluations": "evaluations",
    "drafts": "K",
    "params": "parameters",
    "fd": "FD",
    "kid": "KID",
    "recall": "recall",
    "rmse_to_teacher": "RMSE to teacher",
    "rmse_to_teacher_p99": "p99",
    "ms_batch1": "ms (batch 1)",
    "train_seconds": "training, s",
}


def ablations(results: Results) -> str:
    """A line a change of the student, without a KID's deviation over subsets."""
    shown = [{key: row[key] for key in ABLATIONS if key in row} for row in results["rows"]]
    lead = f"Made by `{results['command']}`; `--only=CHANGE` makes one of the rows.\n\n"
    return lead + markdown_table(shown, ABLATIONS)


NEAR = {
    "rmse_to_teacher": "RMSE to serial",
    "rmse_to_teacher_p50": "p50",
    "rmse_to_teacher_p99": "p99",
    "rmse_to_teacher_max": "max",
}
KNOB = {
    "method": "method",
    "drafts": "K",
    "form": "form",
    "refinements": "m",
    "tolerance": "tolerance",
    "sequential_calls": "sequential calls",
    "sequential_calls_p95": "p95 of calls",
    "network_evaluations": "evaluations",
    "fd": "FD",
    "kid": "KID",
    "recall": "recall",
} | NEAR
TAIL = {
    "method": "method",
    "guidance": "guidance",
    "sequential_calls": "sequential calls",
    "fd": "FD",
    "fd_class_mean": "FD of a class, mean",
    "fd_class_worst": "worst",
    "recall_of_teacher": "recall of the teacher's",
} | NEAR


GRIDS = {
    "method": "method",
    "grid": "grid",
    "sequential_calls": "sequential calls",
    "fd": "FD",
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "rmse_to_teacher": "RMSE to the solution",
    "rmse_to_teacher_p99": "p99",
}


def grids(results: Results) -> str:
    """A line a solver, grid and number of steps, and how they were made."""
    given = results["config"]
    reference = given["reference"]
    lead = (
        f"Made by `{results['command']}` on {results['device']}, {given['samples']:,} samples, seed {given['seed']},"
        f" git {results['git']}. The solution is {reference['solver']} in {reference['steps']} steps on"
        f" `{reference['grid']}`.\n\n"
    )
    return lead + markdown_table(
        [{k: r[k] for k in GRIDS if k in r} for r in results["rows"]], GRIDS
    )


def knob(adaptive: bool, results: Results) -> str:
    """The rows with a tolerance, or those with as many refinements in every round."""
    made = [row for row in results["rows"] if ("tolerance" in row) == adaptive]
    seen = {key: name for key, name in KNOB.items() if any(key in row for row in made)}
    return markdown_table(made, seen)


def error_estimate(results: Results) -> str:
    """Rank correlations of the draft–refine error with the true error, a line a system."""
    lines = [["method", "K", "form", "with the round's true error, round by round"]]
    lines[0] += ["with the final error, round by round", "sum of the rounds with the final error"]
    text = lambda value: "–" if value is None else f"{value:.2f}"
    for row, details in zip(results["rows"], results["details"], strict=True):
        if "rounds" in details:
            by_round = [
                " ".join(text(each[key]) for each in details["rounds"])
                for key in ("spearman", "spearman_final")
            ]
            own = [row["method"], row["drafts"], row["form"]]
            lines.append([*own, *by_round, text(details["spearman_sum"])])
    return plain_table(lines)


def of_classes(results: Results) -> str:
    """Fréchet distance of every class, a line a method, at the first guidance weight."""
    pairs = list(zip(results["rows"], results["details"], strict=True))
    first = pairs[0][0].get("guidance")
    shown = [(row, d["fd_of_class"]) for row, d in pairs if row.get("guidance") == first]
    classes = list(shown[0][1])
    lines = [[row["method"], *(f"{own[c]:.3g}" for c in classes)] for row, own in shown]
    return plain_table([["method", *classes], *lines])


DEMO = {
    "method": "method",
    "sequential_calls": "sequential calls",
    "network_evaluations": "evaluations",
    "drafts": "drafts",
    "fd": "FD",
    "rmse_to_teacher": "RMSE to teacher",
    "ms_batch1": "ms (batch 1)",
}
DATA = ("digits", "fashion_mnist32", "emoji64", "cifar10")
GPUS = {"h100": "nvidia_h100_80gb_hbm3", "h200": "nvidia_h200"}
"""Suffix of a marker -> of the results file."""
TABLES: dict[str, tuple[str, Callable[[Results], str]]] = {
    "demo": ("digits_demo.json", partial(rows, DEMO)),
    "digits_demo_h100": ("digits_demo_h100.json", partial(rows, DEMO)),
    "data_sets": ("data_sets.json", data_sets),
    "inception_throughput": ("inception_throughput.json", throughput),
    "plan": ("plan.json", plans),
    "draft_parallel": ("draft_parallel.json", lambda r: plain_table(draft_parallel(r))),
    **{
        f"{marker}_{gpu}": (f"{file}_{device}.json", lambda r, lines=lines: plain_table(lines(r)))
        for gpu, device in GPUS.items()
        for marker, file, lines in (
            ("latency", "latency", samplers),
            ("calls", "latency", calls),
            ("mfu", "mfu", parts),
            ("start_up", "start_up", start_up),
            ("train_scaling", "train_scaling", train_scaling),
        )
    },
    **{
        marker: (f"{file}_{data}.json", make)
        for data in ("digits", "fashion_mnist32", "emoji64")
        for marker, file, make in (
            (f"exactness_{data}", "exactness", partial(knob, False)),
            (f"tolerance_{data}", "exactness", partial(knob, True)),
            (f"error_estimate_{data}", "exactness", error_estimate),
            (f"long_tail_{data}", "long_tail", lambda r: markdown_table(r["rows"], TAIL)),
            (f"classes_{data}", "long_tail", of_classes),
            (f"grids_{data}", "grids", grids),
        )
    },
    **{
        marker: (file, make)
        for data in DATA
        for marker, file, make in (
            (f"rivals_{data}", f"rivals_{data}.json", rivals),
            (f"depths_{data}", f"rivals_{data}.json", lambda r: plain_table(depths(r))),
            (
                f"frontier_{data}",
                f"rivals_{data}.json",
                lambda r: markdown_table(frontier(r), FRONTIER),
            ),
            (f"ablations_{data}", f"ablations/{data}.json", ablations),
            (f"ablations_{data}_calls2", f"ablations/{data}_calls2.json", ablations),
            (f"ablations_{data}_calls8", f"ablations/{data}_calls8.json", ablations),
        )
    },
}
"""Marker -> results file and what is made of it."""
SEEDS = {f"rivals_{data}_seeds": data for data in DATA}
"""Marker of a table over several files -> data set."""


def render(page: str, results: Path) -> str:
    """The text of a page with every table made anew.

    Raises:
      UserError: a results file is missing or of another kind.
    """

    def table(match: re.Match) -> str:
        if match["name"] in SEEDS:
            return f"{match['open']}\n{seeds(results, SEEDS[match['name']])}{match['close']}"
        file, make = TABLES.get(match["name"], (f"{match['name']}.json", every_column))
        return f"{match['open']}\n{make(read_results(results / file))}{match['close']}"

    return MARKED.sub(table, page)


def pages(root: Path) -> list[Path]:
    """The pages that may have tables."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def main(check: bool, root: Path = ROOT) -> int:
    """Write the tables, or only say which are stale; returns the exit code."""
    stale = []
    try:
        for page in pages(root):
            before = page.read_text(encoding="utf-8")
            after = render(before, root / "results")
            if after != before:
                stale.append(str(page.relative_to(root)))
            if not check:
                page.write_text(after, encoding="utf-8")
    except UserError as error:
        print(f"report: {page.relative_to(root)}: {error}", file=sys.stderr)
        return 1
    for name in stale:
        print(f"report: {name} {'is stale' if check else 'has new tables'}", file=sys.stderr)
    return 1 if check and stale else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    sys.exit(main(parser.parse_args().check))
