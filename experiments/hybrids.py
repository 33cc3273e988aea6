"""What a hybrid is best off with: the grid of its rounds, its drafts and its relaxation, for trained students.

    drf unpack --model emoji --workdir runs/emoji --data_dir ~/data
    python experiments/hybrids.py --teacher runs/emoji --students runs/emoji_lcm --relaxations 1,1.5 --seed 1

Every student of ``--students`` (runs of methods that draft for their teacher: step, progressive and consistency
distillation, LCM) drafts with every combination of ``--rounds`` that it serves, ``--drafts``, ``--grids`` (``own`` is
the student's) and ``--relaxations``, and of ``--ended_by_student``, without relaxation; rounds have to end where a
student of a fixed number of steps makes them. Nothing is trained. ``--refiner`` names a run of the teacher's network,
trained on (PFGM++), that refines in its place. A ``--seed`` other than a table's has other noises,
so that what is chosen here was not chosen on those.

Samples, features and metrics are ``config.evaluate`` of the teacher's run, or of ``--config``; `rmse_to_teacher` is the
distance to DDIM on the teacher's own grid. Writes ``results/hybrids_<data>.json`` row by row, so that a run that was
killed goes on with the same flags (other flags begin another table), and prints the table.
"""

import argparse
import dataclasses
import functools
import itertools
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench import Bench, arguments, bench_of, out_of
from grids import numbers
from jaxtyping import Float
from kept_rows import Job, Made, make_rows

from drf_jax import build
from drf_jax.config import plain
from drf_jax.errors import UserError
from drf_jax.evaluation.report import markdown_table
from drf_jax.runs.distil import load_refiner, load_stages
from drf_jax.runs.distillation.features import judge_of
from drf_jax.runs.distillation.rows import hybrids
from drf_jax.runs.distillation.stage import Setting, Stage
from drf_jax.runs.evaluate import check_judge, fingerprint
from drf_jax.runs.teacher import parameter_hash, teacher_method
from drf_jax.sampling.grid import check_name
from drf_jax.sampling.loops import PYTHON
from drf_jax.sampling.method import Method
from drf_jax.typing import Params
from drf_jax.workdir import read_config

OWN = "own"
SHOWN = {
    "ablation": "student",
    "method": "method",
    "sequential_calls": "calls",
    "network_evaluations": "evaluations",
    "grid": "grid",
    "relaxation": "ω",
    "fd": "FD",
    "fd_judge": "FD, judge",
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "rmse_to_teacher": "RMSE to teacher",
    "rmse_to_teacher_p99": "p99",
}


@dataclasses.dataclass(frozen=True)
class Student:
    """A distilled run, read. Its programs take times as arguments, so that one serves all grids."""

    folder: Path
    config: dict[str, Any]
    setting: Setting
    stages: tuple[Stage, ...]
    params: list[Params]

    @property
    def row(self) -> str:
        """What its hybrids are called before the number of calls."""
        return self.config["evaluate"]["hybrid"].get("row", build.Hybrid.row)


def read_student(folder: str, bench: Bench) -> Student:
    """A run's student.

    Raises:
      UserError: it is no run of a student that drafts, or of another teacher, or its training looked through the
        classifier that its samples would be scored with.
    """
    config = read_config(folder)
    setting, stages, params = load_stages(config, Path(folder), bench.teacher)
    if not config["evaluate"].get("hybrid"):
        raise UserError(f"--students {folder}: {config['method']['name']} drafts for no teacher")
    looked = f"--students {folder}", judge_of(Path(folder))
    check_judge(*looked, bench.extractor)
    if bench.judge is not None:
        check_judge(*looked, bench.judge, "judge")
    setting = dataclasses.replace(setting, loop=PYTHON)
    return Student(Path(folder), config, setting, stages, params)


def solution(bench: Bench) -> Float[np.ndarray, "n *state"]:
    """The teacher's own samples, kept."""
    teacher = bench.teacher
    method = teacher_method(teacher.config, teacher.data, teacher.denoiser)
    return bench.draw(method, plain(teacher.config["sampler"]), bench.seed)


def hybrid_row(bench: Bench, student: Student, options: build.Hybrid) -> Made:
    method = method_of(student, options)
    made = bench.made_by(method.sampler, bench.spec.samples, bench.spec.batch_size)
    facts = {
        "ablation": f"{student.folder.name}{refined_by(options.refiner)}, K = {options.drafts}",
        "sequential_calls": method.sequential_calls,
        "network_evaluations": method.network_evaluations,
        "drafts": method.drafts,
        "grid": options.grid or OWN,
        **({} if options.ended_by_student else {"relaxation": options.relaxation}),
    }
    return bench.row(made, solution(bench), method=method.name, **facts), {}


def method_of(student: Student, options: build.Hybrid) -> Method:
    """Raises: UserError: the student drafts for other numbers of rounds, or they end where its own steps do not."""
    hybrid = dataclasses.asdict(options)
    spec = dataclasses.replace(build.evaluate(student.config), hybrid=hybrid, guidance=1.0)
    [(method, _)] = hybrids(spec, student.setting, student.stages, student.params)
    return method


def every_job(bench: Bench, students: Sequence[Student], given: argparse.Namespace) -> list[Job]:
    """A job for every combination that is possible; what is not is said.

    Raises:
      UserError: none is.
    """
    jobs = []
    asked = itertools.product(
        students,
        numbers(given.rounds, "--rounds"),
        numbers(given.drafts, "--drafts"),
        given.grids.split(","),
        factors(given.relaxations),
    )
    ended = itertools.product(
        students,
        numbers(given.ended_by_student, "--ended_by_student") if given.ended_by_student else (),
        numbers(given.drafts, "--drafts"),
        given.grids.split(","),
        [None],
    )
    for student, rounds, drafts, grid, relaxation in (*asked, *ended):
        common = {"drafts": drafts, "row": student.row, "grid": "" if grid == OWN else grid}
        common["refiner"] = given.refiner
        name = student.folder.name + refined_by(given.refiner)
        if relaxation is None:
            options = build.Hybrid((), ended_by_student=(rounds,), **common)
            label = f"{name}, {2 * rounds - 1} calls, K = {drafts}, {grid}"
        else:
            options = build.Hybrid((rounds,), relaxation=relaxation, **common)
            label = f"{name}, {2 * rounds} calls, K = {drafts}, {grid}, ω = {relaxation:g}"
        try:
            method_of(student, options)
        except UserError as error:
            print(f"hybrids: left out: {label}: {error}", file=sys.stderr)
            continue
        networks = [parameter_hash(params) for params in student.params]
        asked = dataclasses.asdict(options)
        if asked.pop("refiner"):
            networks.append(student.setting.load_refiner(options.refiner).sha256)
        told = student.folder.name, networks, asked
        mark = fingerprint(bench.mark, *told)
        jobs.append(Job(label, mark, functools.partial(hybrid_row, bench, student, options)))
    if not jobs:
        raise UserError("no hybrid that is asked for is possible")
    return jobs


def refined_by(folder: str) -> str:
    """What a row's name says of a run that refines in the teacher's place."""
    return f" refined by {Path(folder).name}" if folder else ""


def factors(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise UserError(f"--relaxations {text}: must be numbers with commas between them") from None


def run(given: argparse.Namespace, command: str) -> None:
    for grid in given.grids.split(","):
        if grid != OWN:
            check_name(grid)
    if not given.students:
        raise UserError("--students: name the folder of a distilled run")
    bench = dataclasses.replace(bench_of(given, "hybrids"), seed=given.seed)
    if given.metrics:
        metrics = tuple(given.metrics.split(","))
        bench = dataclasses.replace(bench, spec=dataclasses.replace(bench.spec, metrics=metrics))
    students = [read_student(folder, bench) for folder in given.students.split(",")]
    if given.refiner:  # one, for all of them
        refiner = load_refiner(given.refiner, bench.teacher)
        loaded = {"load_refiner": lambda folder: refiner}
        of = lambda student: dataclasses.replace(student.setting, **loaded)
        students = [dataclasses.replace(each, setting=of(each)) for each in students]
    facts = {
        "samples": bench.spec.samples,
        "seed": bench.seed,
        "teacher_sha256": bench.teacher.sha256,
    }
    jobs = every_job(bench, students, given)
    path = out_of(given) / "results" / f"hybrids_{bench.teacher.data.name}.json"
    made = make_rows(path, jobs, facts, command)
    rows = [{key: row[key] for key in SHOWN if key in row} for row, _ in made]
    shown = {key: name for key, name in SHOWN.items() if any(key in row for row in rows)}
    print(markdown_table(rows, shown))


def main(given: list[str]) -> int:
    """The exit code."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--rounds", default="1,2,4", help="with commas; two calls each")
    parser.add_argument(
        "--ended_by_student",
        default="",
        help="rounds, with commas, whose last call is the student's",
    )
    parser.add_argument("--drafts", default="3", help="with commas")
    parser.add_argument("--grids", default=OWN, help=f"with commas; {OWN} is the student's")
    parser.add_argument("--relaxations", default="1,1.5", help="with commas")
    parser.add_argument("--refiner", default="", help="a run that refines in the teacher's place")
    parser.add_argument("--seed", type=int, default=0, help="of the noises")
    parser.add_argument("--metrics", default="", help="with commas; config.evaluate's unless given")
    try:
        run(parser.parse_args(given), shlex.join(["python", "experiments/hybrids.py", *given]))
    except UserError as error:
        print(f"hybrids: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
