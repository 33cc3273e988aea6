"""Which time grid suits a teacher: quality and error of its samplers in few steps, on several grids.

    drf unpack --model emoji --workdir runs/emoji --data_dir ~/data
    python experiments/grids.py --teacher runs/emoji --samples 1024

Every solver of ``--solvers`` walks every grid of ``--grids`` in each of ``--steps``. ``rmse_to_teacher`` is the
distance to the solution of the sampling ODE, from the same noises: DDIM in ``--reference`` steps, on
``--reference_grid``. What is best for one solver, or by that distance, need not be for another, or by FD: this chooses
a grid, and says nothing of students that are trained on it.

Samples, features and metrics are ``config.evaluate`` of the teacher's run, or of ``--config``. Writes
``results/grids_<data>.json`` row by row, so that a run that was killed goes on, and a picture.
"""

import argparse
import dataclasses
import functools
import shlex
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench import Bench, arguments, bench_of, out_of
from kept_rows import Job, Made, make_rows

from drf_jax import build
from drf_jax.errors import UserError
from drf_jax.evaluation.lines import Panel, line_figure
from drf_jax.evaluation.report import Row
from drf_jax.runs.evaluate import fingerprint
from drf_jax.sampling.grid import check_name
from drf_jax.sampling.method import Method

GRIDS = "uniform,shifted:2,shifted:4,shifted:8,power:1.5,power:2"
SOLVERS: dict[str, dict[str, Any]] = {
    "ddim": {"name": "serial", "step": "ddim"},
    "dpmpp-2m": {"name": "multistep", "solver": "dpmpp-2m"},
    "unipc": {"name": "multistep", "solver": "unipc"},
}
Y_LABELS = {"fd": "Fréchet distance", "rmse_to_teacher": "RMSE to the ODE's solution"}


@dataclasses.dataclass(frozen=True)
class Walk:
    """A solver on a grid."""

    solver: str
    grid: str
    steps: int

    @property
    def name(self) -> str:
        return f"{self.solver}-{self.steps}"

    def method(self, bench: Bench) -> Method:
        section = SOLVERS[self.solver] | {"steps": self.steps, "grid": self.grid}
        shared = (bench.teacher.denoiser, bench.teacher.data, bench.loop)
        return build.method(self.name, section, *shared, self.solver)


def solution(bench: Bench, reference: Walk) -> np.ndarray:
    """The reference's samples, kept."""
    told = dataclasses.astuple(reference)
    return bench.draw(reference.method(bench), told, bench.seed, "-reference")


def walk_row(bench: Bench, walk: Walk, reference: Walk) -> Made:
    method, spec = walk.method(bench), bench.spec
    made = bench.made_by(method.sampler, spec.samples, spec.batch_size)
    facts = {"sequential_calls": walk.steps, "network_evaluations": walk.steps}
    return bench.row(
        made, solution(bench, reference), method=walk.name, grid=walk.grid, **facts
    ), {}


def every_job(bench: Bench, walks: Sequence[Walk], reference: Walk) -> list[Job]:
    told = dataclasses.astuple
    return [
        Job(
            f"{walk.name}, {walk.grid}",
            fingerprint(bench.mark, told(reference), told(walk)),
            functools.partial(walk_row, bench, walk, reference),
        )
        for walk in walks
    ]


def draw(path: Path, rows: Sequence[Row]) -> None:
    """A panel for each number and solver: it against calls, a line a grid."""
    panels = []
    for key, label in Y_LABELS.items():
        solvers: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
        for r in (r for r in rows if key in r):
            solver = r["method"].rpartition("-")[0]
            solvers[solver][r["grid"]].append((r["sequential_calls"], r[key]))
        panels += [Panel(name, "steps", label, lines) for name, lines in solvers.items()]
    if panels:
        line_figure(path, panels, columns=max(2, len(panels) // len({p.y_label for p in panels})))


def numbers(text: str, flag: str) -> list[int]:
    """Of a flag that lists some of at least 1."""
    words = text.split(",")
    if not all(word.isdecimal() and int(word) for word in words):
        raise UserError(f"{flag} {text}: must be numbers of at least 1, with commas between them")
    return [int(word) for word in words]


def walks_of(given: argparse.Namespace) -> list[Walk]:
    """What the flags ask for.

    Raises:
      UserError: no such solver or grid, or no steps.
    """
    if given.students:
        raise UserError("--students: a student's times are those that it was trained for")
    grids, solvers = given.grids.split(","), given.solvers.split(",")
    for name in (*grids, given.reference_grid):
        check_name(name)
    if unknown := [name for name in solvers if name not in SOLVERS]:
        raise UserError(f"--solvers {unknown[0]}: choose among {', '.join(SOLVERS)}")
    steps = [4, 2] if given.smoke else numbers(given.steps, "--steps")
    return [Walk(s, grid, n) for s in solvers for grid in grids for n in steps]


def run(given: argparse.Namespace, command: str) -> None:
    walks, bench = walks_of(given), bench_of(given, "grids")
    reference = Walk("ddim", given.reference_grid, 8 if given.smoke else given.reference)
    name = f"grids_{bench.teacher.data.name}"
    facts = {
        "samples": bench.spec.samples,
        "seed": bench.seed,
        "teacher_sha256": bench.teacher.sha256,
        "reference": dataclasses.asdict(reference),
    }
    out = out_of(given)
    jobs = every_job(bench, walks, reference)
    made = make_rows(out / "results" / f"{name}.json", jobs, facts, command)
    draw(out / "docs" / "pictures" / f"{name}.png", [row for row, _ in made])


def main(given: list[str]) -> int:
    """The exit code."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--grids", default=GRIDS, help="with commas: config.sampler.grid")
    parser.add_argument("--solvers", default="ddim", help=f"with commas: {', '.join(SOLVERS)}")
    parser.add_argument("--steps", default="48,8,4,2", help="with commas")
    parser.add_argument("--reference", type=int, default=192, help="steps of the solution")
    parser.add_argument("--reference_grid", default="shifted:2", help="its grid")
    try:
        run(parser.parse_args(given), shlex.join(["python", "experiments/grids.py", *given]))
    except UserError as error:
        print(f"grids: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
