"""The long tail: how far the worst samples are from the teacher's, and whether any class or any variety is lost.

    drf demo                                           trains a teacher and two students, if they are not there
    python experiments/long_tail.py --teacher runs/demo/teacher --students runs/demo/learned-8,runs/demo/learned-4

The methods are those of ``config.evaluate`` of the teacher's run (or of ``--config``) and the students'; for each
guidance weight (``--guidance``) the teacher's own sampler with that weight is the reference, from the same noises and
conditions. Students take part at weight 1, and at others if they were trained to take a weight. A row has

    rmse_to_teacher    mean, p50, p99 and max over samples
    fd_class_mean      Fréchet distance between a class's samples and its images, mean over classes (and worst): styles
                       of the emoji, or whatever ``config.data`` makes the label
    recall_of_teacher  recall (Kynkäänniemi et al. 2019) of the teacher's samples from *other* noises: the method's
                       share of the teacher's variety. The teacher's own row is what can be reached.

and in its details the distance of every class, and the ten worst samples.

Writes ``results/long_tail_<data>.json`` row by row, so that a run that was killed goes on, and a picture of the worst
samples of the first weight: serial, method and difference (grey: none; black and white: half the range).
"""

import dataclasses
import functools
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from bench import Bench, arguments, bench_of, out_of
from jaxtyping import Float, Int, UInt8
from kept_rows import Job, Made, make_rows
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from drf_jax import build
from drf_jax.data.conditioning import condition_of
from drf_jax.data.image import to_uint8
from drf_jax.data.source import take
from drf_jax.errors import UserError
from drf_jax.evaluation.fidelity import rmse
from drf_jax.evaluation.figure import FAINT, INK
from drf_jax.evaluation.frechet import frechet_between
from drf_jax.evaluation.precision_recall import precision_recall
from drf_jax.evaluation.reference import state_features, stored
from drf_jax.evaluation.report import FAMILIES, family
from drf_jax.evaluation.statistics import Statistics, empty, statistics_of, update
from drf_jax.runs.compare import cost_of
from drf_jax.runs.distil import load_distilled
from drf_jax.runs.evaluate import fingerprint
from drf_jax.sampling.method import Method
from drf_jax.workdir import read_config

WORST = 10
PART = 1024
"""Images held at once."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A method at a guidance weight; ``depends_on`` are JSON values."""

    method: Method
    guidance: float
    depends_on: Any

    @property
    def label(self) -> str:
        return f"-w{self.guidance:g}"


@dataclasses.dataclass(frozen=True)
class Tail(Bench):
    def samples(self, entry: Entry, seed: int) -> Float[np.ndarray, "n *state"]:
        return self.draw(entry.method, entry.depends_on, seed, entry.label)

    def teacher_entry(self, weight: float) -> Entry:
        return self.entry("teacher", self.teacher.config["sampler"], weight)

    def entry(self, name: str, section: Mapping[str, Any], weight: float) -> Entry:
        section = {**section, "guidance": weight}
        path = f"config.evaluate.methods.{name}"
        shared = (self.teacher.denoiser, self.teacher.data, self.loop)
        method = build.method(name, section, *shared, path)
        return Entry(method, weight, build.sampler_spec(section, path))

    @functools.cached_property
    def classes(self) -> dict[int, Statistics]:
        """Features of the real images of each class."""
        data, found = self.teacher.data, {}
        count = min(len(data), self.spec.real or len(data)) if data.num_classes else 0
        for start in range(0, count, PART):
            images, labels = take(data, range(start, min(start + PART, count)))
            features = self.extractor.extract(images)
            for c in np.unique(labels).tolist():
                found[c] = update(found.get(c, empty(features.shape[1])), features[labels == c])
        return found

    @functools.cached_property
    def labels(self) -> Int[np.ndarray, "n"] | None:
        """Of the samples; None if the data have no classes."""
        return condition_of(self.teacher.data, np.arange(self.spec.samples)).get("label")


def students(bench: Bench, folder: str, weight: float) -> list[Entry]:
    """A run's methods at a guidance weight; none if the weight is not 1 and the run knows no other."""
    config = read_config(folder)
    if weight != 1 and "guidance" not in config["evaluate"]:
        return []
    if weight != 1:
        config["evaluate"] |= {"guidance": weight}
    try:
        made = load_distilled(folder, bench.teacher, config)
    except UserError:
        if weight == 1:
            raise
        return []  # the weight is not one that it was trained with
    return [Entry(student.method, weight, [*student.depends_on]) for student in made]


def per_class(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    classes: Mapping[int, Statistics],
) -> dict[int, float]:
    """Class -> Fréchet distance of its samples to its images; a class with fewer than two of either is left out."""
    chosen = {c: features[labels == c] for c, real in sorted(classes.items()) if real.n > 1}
    return {
        c: frechet_between(statistics_of(own), classes[c])
        for c, own in chosen.items()
        if len(own) > 1
    }


def tail_row(bench: Tail, entry: Entry, others: Entry) -> Made:
    """A row of one method, beside the teacher's samples from the same noises and from others."""
    samples, serial = bench.samples(entry, bench.seed), bench.samples(others, bench.seed)
    features = state_features(bench.extractor, samples)
    other = state_features(bench.extractor, bench.samples(others, bench.seed + 1))
    distances, names = {}, bench.teacher.data.classes
    if bench.labels is not None:
        distances = per_class(features, bench.labels, bench.classes)
    errors, method = rmse(samples, serial), entry.method
    calls = []
    if method.cost is not None:
        calls = [bench.made_by(method.cost, len(samples), bench.spec.batch_size).mean(0)]
    row = bench.row(
        samples,
        serial,
        method=method.name,
        mode=method.mode,
        **cost_of(method, calls),
        drafts=method.drafts,
        tolerance=method.tolerance,
        guidance=entry.guidance,
        fd_class_mean=float(np.mean(list(distances.values()))) if distances else None,
        fd_class_worst=max(distances.values(), default=None),
        recall_of_teacher=precision_recall(features, other)["recall"],
    )
    named = {names[c] if names else str(c): value for c, value in distances.items()}
    worst = np.argsort(-errors)[:WORST]
    return row, {"fd_of_class": named, "worst": worst.tolist()}


def entries(bench: Tail, weight: float, folders: list[str]) -> list[Entry]:
    """The teacher's methods at this weight, its own sampler among them, and the students'; serial samplers first."""
    made = [bench.entry(n, section, weight) for n, section in bench.spec.methods.items()]
    teacher = bench.teacher_entry(weight)
    if all(entry.depends_on != teacher.depends_on for entry in made):
        made.append(teacher)
    made += [entry for folder in folders for entry in students(bench, folder, weight)]
    order = ("teacher", *FAMILIES)
    return sorted(
        made, key=lambda e: (order.index(family(e.method.name)), -e.method.sequential_calls)
    )


def worst_figure(path: Path, methods: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """For each method the teacher's samples, its own and the difference, in three lines."""
    lines = ("serial", "method", "difference")
    figure = Figure((15, 2.15 * -(-len(methods) // 2)), layout="constrained")
    for i, (name, (serial, samples)) in enumerate(methods.items()):
        images = (stored(serial), stored(samples), to_uint8(np.clip(samples - serial, -1, 1)))
        height = images[0].shape[1] + 1
        axes = figure.add_subplot(-(-len(methods) // 2), 2, i + 1)
        axes.imshow(np.concatenate([strip(each) for each in images]), interpolation="nearest")
        axes.set_yticks([(j + 0.5) * height - 1 for j in range(3)], lines, fontsize=8, color=FAINT)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(name, fontsize=9, color=INK, loc="left")
    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, facecolor="white")


def strip(images: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The images side by side, each with a white edge below and to the right."""
    coloured = np.broadcast_to(images, (*images.shape[:3], 3))
    framed = np.pad(coloured, [(0, 0), (0, 1), (0, 1), (0, 0)], constant_values=255)
    return np.concatenate(list(framed), 1)


def run(given: Any, command: str) -> None:
    shared = bench_of(given, "long_tail")
    bench = Tail(shared.teacher, shared.spec, shared.folder, shared.seed)
    folders = [folder for folder in given.students.split(",") if folder]
    weights = [float(w) for w in given.guidance.split(",")]
    jobs, compared = [], []
    for weight in weights:
        teacher = bench.teacher_entry(weight)
        for entry in entries(bench, weight, folders):
            method = entry.method
            mark = fingerprint(bench.mark, method.name, entry.depends_on, teacher.depends_on)
            make = functools.partial(tail_row, bench, entry, teacher)
            jobs.append(Job(f"{method.name}, w = {weight:g}", mark, make))
            compared.append(entry)
    out, name = out_of(given), f"long_tail_{bench.teacher.data.name}"
    facts = {"samples": bench.spec.samples, "seed": bench.seed, "teacher": bench.teacher.sha256}
    made = make_rows(out / "results" / f"{name}.json", jobs, facts, command)
    serial = bench.samples(bench.teacher_entry(weights[0]), bench.seed)
    shown = {}
    for entry, (row, details) in zip(compared, made, strict=True):
        if entry.guidance == weights[0] and row["rmse_to_teacher_max"] > 0:
            title = f"{row['method']}: RMSE p50 {row['rmse_to_teacher_p50']:.2g}, p99"
            title += f" {row['rmse_to_teacher_p99']:.2g}, max {row['rmse_to_teacher_max']:.2g}"
            own = bench.samples(entry, bench.seed)
            shown[title] = (serial[details["worst"]], own[details["worst"]])
    if shown:
        worst_figure(out / "docs" / "pictures" / f"{name}.png", shown)


def main(argv: list[str]) -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--guidance", default="1", help="weights of the teacher, with commas")
    given = parser.parse_args(argv)
    try:
        run(given, shlex.join(["python", "experiments/long_tail.py", *argv]))
    except UserError as error:
        print(f"long_tail: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
