"""The exactness knob: quality and distance to the serial sampler against refinements and against the tolerance.

    drf demo                                           trains a teacher and two students, if they are not there
    python experiments/exactness.py --teacher runs/demo/teacher --students runs/demo/learned-8,runs/demo/learned-4

The training-free systems (conservative and aggressive, noise and data form) walk the teacher's own DDIM grid in rounds
of K drafts (``--drafts``), the learned ones theirs, without guidance. Each makes m = 0 … K refinements a round; m = 0
is drafts alone, and training-free m = K is the serial sampler itself. Then as many as a tolerance on the draft–refine
error asks for, up to K. Every sample starts from the noise of the teacher's serial one, and ``rmse_to_teacher`` is its
distance to that. ``sequential_calls`` of a row with a tolerance is the mean over samples; p95 stands beside it.

Does the draft–refine error predict the true error? `error_estimate` says what is compared; the details of the rows
with m = 1 hold the rank correlations.

What is measured otherwise (features, metrics, samples) is ``config.evaluate`` of the teacher's run, or of ``--config``.
Writes ``results/exactness_<data>.json`` row by row, so that a run that was killed goes on, and two pictures.
"""

import argparse
import dataclasses
import functools
import shlex
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from bench import Bench, bench_of, out_of
from bench import arguments as bench_arguments
from error_estimate import correlations, round_errors, scatter_figure
from kept_rows import Job, Made, make_rows
from systems import System, final_state, learned, training_free

from drf_jax import build
from drf_jax.errors import UserError
from drf_jax.evaluation.fidelity import rmse
from drf_jax.evaluation.generate import Sampler
from drf_jax.evaluation.lines import Panel, line_figure
from drf_jax.evaluation.report import Row
from drf_jax.runs.evaluate import fingerprint
from drf_jax.sampling.grid import make_grid
from drf_jax.sampling.method import Method, from_noise

TOLERANCES = (0.1, 0.03, 0.01, 0.003)
PAIRS = 1024
"""At most so many samples for the rank correlations."""


@dataclasses.dataclass(frozen=True)
class Knob(Bench):
    """The serial sampler is DDIM with ``steps`` steps on the grid of the teacher's own sampler."""

    steps: int = 0

    @property
    def grid(self) -> str:
        return self.teacher.config["sampler"].get("grid", "uniform")

    @functools.cached_property
    def serial(self) -> np.ndarray:
        """The teacher's serial samples."""
        return self.draw(self.serial_method(self.steps), [self.grid, self.steps], self.seed)

    def serial_method(self, steps: int) -> Method:
        section = {"name": "serial", "steps": steps, "grid": self.grid}
        shared = (self.teacher.denoiser, self.teacher.data, self.loop)
        return build.method(f"ddim-{steps}", section, *shared, "ddim")

    def start(self, system: System, run: Callable[..., Any]) -> Sampler:
        """``run(slots, x, cond)`` as a sampler from unit noise."""
        slots, grid = (system.drafter, system.refiner), system.grid
        called = lambda slots, x, keys, cond: run(slots, x, cond)
        return from_noise(called, slots, system.process, grid, self.loop)


def serial_row(bench: Knob, steps: int) -> Made:
    method, spec = bench.serial_method(steps), bench.spec
    made = bench.made_by(method.sampler, spec.samples, spec.batch_size)
    cost = {"sequential_calls": steps, "network_evaluations": steps}
    return bench.row(made, bench.serial, method=method.name, **cost), {}


def system_row(bench: Knob, system: System, refinements: int, tolerance: float | None) -> Made:
    """A row of m = ``refinements`` a round, or of as many as the tolerance asks for up to there."""

    def run(slots, x, cond):
        x, calls = final_state(system, slots, x, cond, refinements, tolerance, bench.loop)
        return jnp.concatenate([x.reshape(len(x), -1), calls], 1)

    sampler = bench.start(system, run)
    packed = bench.made_by(sampler, bench.spec.samples, bench.spec.batch_size)
    samples = packed[:, :-2].reshape(-1, *bench.teacher.data.image_shape)
    calls, evaluations = packed[:, -2].astype(float), packed[:, -1].astype(float)
    adaptive = tolerance is not None
    facts = {
        "sequential_calls": calls.mean() if adaptive else int(calls[0]),
        "sequential_calls_p95": float(np.percentile(calls, 95)) if adaptive else None,
        "network_evaluations": evaluations.mean() if adaptive else int(evaluations[0]),
        "refinements": None if adaptive else refinements,
        "tolerance": tolerance,
    }
    named = {"method": system.name, "mode": system.mode, "form": system.form}
    made = bench.row(samples, bench.serial, **named, drafts=system.drafts, **facts)
    if refinements == 1 and not adaptive:
        final = rmse(samples, bench.serial)
        return made, correlations(errors_of(bench, system), final[:PAIRS])
    return made, {}


def errors_of(bench: Knob, system: System) -> np.ndarray:
    """e_r and δ_r ``[n, 2, rounds]`` of the first samples, kept in the folder."""
    path = bench.folder / f"errors-{system_mark(bench, system)}.npy"
    if path.exists():
        return np.load(path)
    count, rounds = min(PAIRS, bench.spec.samples), len(system.rounds.times)
    run = lambda slots, x, cond: round_errors(system, slots, x, cond, bench.loop)
    errors = bench.made_by(bench.start(system, run), count, -(-bench.spec.batch_size // rounds))
    np.save(path, errors)
    return errors


def system_mark(bench: Knob, system: System) -> str:
    grids = (system.grid.tolist(), system.serial_grid.tolist())
    told = (system.name, system.form, system.drafts, *grids, *system.depends_on)
    return fingerprint(bench.mark, bench.steps, *told)


def every_job(
    bench: Knob, systems: Sequence[System], serial: Sequence[int], tolerances: Sequence[float]
) -> list[Job]:
    jobs = []
    for steps in serial:
        mark = fingerprint(bench.mark, bench.steps, "ddim", steps)
        jobs.append(Job(f"ddim-{steps}", mark, functools.partial(serial_row, bench, steps)))
    for system in systems:
        own, k = system_mark(bench, system), system.drafts
        settings = [(m, None) for m in range(k + 1)] + [(k, t) for t in tolerances if k > 1]
        for at in settings:
            make = functools.partial(system_row, bench, system, *at)
            jobs.append(Job(f"{system.name}, {system.form}", fingerprint(own, *at), make))
    return jobs


def title(r: Row) -> str:
    return f"{r['method'].removeprefix('driffusion-')}, K = {r['drafts']}, {r['form']} form"


def draw(path: Path, rows: Sequence[Row]) -> None:
    """FD and RMSE against calls for fixed m, and RMSE against mean calls for tolerances; DDIM as a guide."""
    panels = []
    chosen = (("fd", "refinements"), ("rmse_to_teacher", "refinements"))
    for key, knob in (*chosen, ("rmse_to_teacher", "tolerance")):
        # What is exact to rounding has no place on a logarithmic axis.
        seen = [r for r in rows if r.get(key, 0) > 1e-4 and r["sequential_calls"] > 1]
        lines = defaultdict(list)
        for r in (r for r in seen if knob in r):
            lines[title(r)].append((r["sequential_calls"], r[key]))
        ddim = [(r["sequential_calls"], r[key]) for r in seen if r["method"].startswith("ddim")]
        label = {"fd": "Fréchet distance"}.get(key, "RMSE to the serial sample")
        calls = "sequential calls" + (", mean" if knob == "tolerance" else "")
        if lines:
            guides = {"DDIM": sorted(ddim)} if ddim else {}
            panels.append(Panel(f"by {knob}", calls, label, lines, guides))
    line_figure(path, panels)


def run(given: argparse.Namespace, command: str) -> None:
    shared = bench_of(given, "exactness")
    teacher, spec, steps = shared.teacher, shared.spec, shared.teacher.config["sampler"]["steps"]
    bench = Knob(teacher, spec, shared.folder, shared.seed, steps)
    grid = make_grid(bench.grid, teacher.denoiser.process, steps)
    drafts = [2] if given.smoke else [int(k) for k in given.drafts.split(",")]
    systems = [s for k in drafts for s in training_free(teacher, grid, k)]
    systems += [learned(teacher, folder) for folder in given.students.split(",") if folder]
    serial = sorted({steps, *(max(1, steps // n) for n in (2, 3, 4, 6, 12))}, reverse=True)

    out, name = out_of(given), f"exactness_{teacher.data.name}"
    jobs = every_job(bench, systems, serial, TOLERANCES[:2] if given.smoke else TOLERANCES)
    facts = {"samples": spec.samples, "seed": bench.seed, "teacher_sha256": teacher.sha256}
    made = make_rows(out / "results" / f"{name}.json", jobs, facts, command)
    pictures = out / "docs" / "pictures"
    draw(pictures / f"{name}.png", [r for r, _ in made])
    names = [title({"method": s.name, "drafts": s.drafts, "form": s.form}) for s in systems]
    pairs = {name: errors_of(bench, s) for name, s in zip(names, systems, strict=True)}
    scatter_figure(pictures / f"error_estimate_{teacher.data.name}.png", pairs)


def main(arguments: list[str]) -> int:
    parser = bench_arguments(__doc__.splitlines()[0])
    parser.add_argument("--drafts", default="5", help="K of the training-free, with commas")
    given = parser.parse_args(arguments)
    try:
        run(given, shlex.join(["python", "experiments/exactness.py", *arguments]))
    except UserError as error:
        print(f"exactness: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
