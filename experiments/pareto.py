"""Quality against time: every sampler of the models that come with the library, in one table and one figure.

    python experiments/pareto.py                                              the digits, on a CPU
    python experiments/pareto.py --models fashion_mnist,emoji --data_dir ~/data --tables=beside
    python experiments/pareto.py --models fashion_mnist,emoji --tables=only                   in seconds, from results/
    python experiments/pareto.py --smoke                                      few samples, few samplers; to runs/smoke

A model's teacher is sampled with every training-free sampler of its config, its student as it is, from the same noises,
and measured with the classifier that came with it. Nothing is trained, but a classifier for a model without one. The
data must be prepared (docs/data.md) for what is real.

``--tables=beside`` puts the rivals beside them whose weights do not come with the library: rows of
``results/rivals_DATA.json`` (``experiments/rivals.py``), of the same teacher and timed on the same kind of device. What
is measured here takes the place of a table's row; with ``--tables=only`` nothing is measured.

Writes ``results/pareto.json`` and ``docs/pictures/pareto.png``: FD against sequential calls and against the
milliseconds of one image, a line of panels for each model. ``--runs`` keeps samples and rows, so that a second call
goes on where the first stopped.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quality_panels import AXES, quality_panels

from drf_jax.configs import training_free
from drf_jax.errors import UserError
from drf_jax.evaluation.lines import Panel, line_figure
from drf_jax.evaluation.report import (
    Row,
    circumstances,
    read_results,
    with_circumstances,
    write_results,
)
from drf_jax.runs.evaluate import evaluate, table
from drf_jax.workdir import read_config
from drf_jax.zoo.model import load_model
from drf_jax.zoo.unpack import unpack

ROOT = Path(__file__).resolve().parents[1]
METRICS = ("fd", "kid", "precision_recall")


def rows_of(
    model: str, folder: Path, data_dir: str, samples: int, smoke: bool, command: str
) -> list[Row]:
    """The rows of one model, whose runs are unpacked into ``folder``."""
    teacher, students = folder / "teacher", ()
    if load_model(model).student:
        students = (str(folder / "student"),)
    unpack(model, teacher, data_dir, *students)
    config: dict[str, Any] = read_config(teacher)
    config["evaluate"] |= {"students": students, "metrics": METRICS}
    if samples:
        config["evaluate"] |= {"samples": samples}
    if smoke:
        config["evaluate"] |= {
            "methods": {"ddim-3": training_free.serial(3), "ddim-2": training_free.serial(2)},
            "metrics": ("fd",),
            "feature_steps": 2,
            "samples": 64,
            "batch_size": 64,
            "repeats": 2,
        }
    return evaluate(config, teacher, command, folder / "rows.json")


def rows_of_table(model: str, root: Path, device: str = "") -> list[Row]:
    """The timed rows of the published table of a model's data set.

    Args:
      model: a name, or a folder of ``drf pack``.
      root: holds ``results/``.
      device: its kind, on which they are to have been timed; any unless given.

    Raises:
      UserError: there is no such table, it is of another teacher, or was timed on another device.
    """
    teacher, path = load_model(model).teacher, table_of(model, root)
    if not path.exists():
        raise UserError(f"--tables: {path} does not exist")
    found = read_results(path)
    if found["teacher"].get("sha256") != teacher.sha256:
        raise UserError(f"--tables: {path} is of another teacher than the model {model}")
    rows = [r for r in with_circumstances(found) if "ms_batch1" in r]
    timed = {own["device"] for own in found["timed"].values() if isinstance(own, dict)}
    timed = timed or {r["device"] for r in rows}  # then each was timed where it was made
    if others := [each for each in timed if device and kind_of(each) != device]:
        raise UserError(f"--tables: {path} was timed on {others[0]}, and this is a {device}")
    return rows


def table_of(model: str, root: Path) -> Path:
    """The published table of a model's data set; its fact ``timed`` says where its students' rows were timed."""
    return root / "results" / f"rivals_{load_model(model).teacher.data.name}.json"


def kind_of(device: str) -> str:
    """Without how many there are: ``2 x NVIDIA H200`` is NVIDIA H200."""
    return device.partition(" x ")[2]


def beside(measured: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """The rows, and those of others that are no method of theirs."""
    names = {r["method"] for r in measured}
    return [*measured, *(r for r in others if r["method"] not in names)]


def panels(rows: Sequence[Row]) -> list[Panel]:
    """A line of panels for each data set."""
    made = []
    for data in dict.fromkeys(r["dataset"] for r in rows):
        made += quality_panels(data, [r for r in rows if r["dataset"] == data])
    return made


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="digits", help="names, or folders of drf pack")
    parser.add_argument("--data_dir", default="", help="of prepared data; ~/data unless given")
    parser.add_argument("--samples", type=int, default=0, help="the configs' unless given")
    parser.add_argument(
        "--tables", choices=("beside", "only"), default="", help="the published tables' rows"
    )
    parser.add_argument("--smoke", action="store_true", help="in seconds; to runs/smoke")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "pareto", help="working files")
    parser.add_argument("--out", type=Path, help="gets results/ and docs/pictures/")
    given = parser.parse_args(arguments)
    out = given.out or (ROOT / "runs" / "smoke" if given.smoke else ROOT)
    models, rows = given.models.split(","), []
    words = ["python", "experiments/pareto.py", f"--models={given.models}"]
    words += [f"--samples={given.samples}"] if given.samples else []
    measure = given.tables != "only"
    words += [f"--tables={given.tables}"] * bool(given.tables)
    command = shlex.join(words + ["--smoke"] * given.smoke)
    config = {"models": models, "samples": given.samples, "smoke": given.smoke}
    config |= {"tables": given.tables}
    try:
        here = kind_of(circumstances()["device"]) if measure else ""
        others = [rows_of_table(m, ROOT, here) if given.tables else [] for m in models]
        timed = {m: read_results(table_of(m, ROOT))["timed"] for m in models if given.tables}
        for model, own in zip(models, others, strict=True):
            folder, made = given.runs / (Path(model).name + "_smoke" * given.smoke), []
            if measure:
                asked = given.data_dir, given.samples, given.smoke, command
                made = rows_of(model, folder, *asked)
            rows += beside(made, own)
            write_results(out / "results" / "pareto.json", rows, config, command, {"timed": timed})
        print(table(rows))
        picture = out / "docs" / "pictures" / "pareto.png"
        line_figure(picture, panels(rows), columns=len(AXES), one_legend=True)
    except UserError as error:
        print(f"pareto: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
