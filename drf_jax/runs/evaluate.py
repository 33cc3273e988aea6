"""Compare methods: the same noises and conditions through each, then distance to the data and to the teacher.

Sample i of every method starts from the noise of index i and is conditioned like example i of the data. A method's
samples are kept in ``<out>/samples/<method>.npz`` and its row in ``<out>/results.json``; both carry a fingerprint of
what they depend on (method, parameters, seed, count), so that an evaluation that was killed goes on where it stopped
and a second one repeats nothing.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from drf_jax import build
from drf_jax.data.image import to_uint8
from drf_jax.data.source import Source, take
from drf_jax.evaluation.atomic import replacing
from drf_jax.evaluation.features import FEATURE_SPACE, Classifier, load_classifier, save_classifier
from drf_jax.evaluation.figure import sample_figure
from drf_jax.evaluation.fidelity import rmse_to_reference
from drf_jax.evaluation.frechet import frechet_between
from drf_jax.evaluation.generate import generate
from drf_jax.evaluation.latency import latency
from drf_jax.evaluation.report import (
    FAMILIES,
    Row,
    family,
    markdown_table,
    read_results,
    row,
    write_results,
)
from drf_jax.evaluation.statistics import statistics_of
from drf_jax.evaluation.train_classifier import train_classifier
from drf_jax.runs.student import load_student
from drf_jax.runs.teacher import (
    SAMPLE,
    condition_of,
    load_teacher,
    parameter_hash,
    root_key,
    teacher_method,
)
from drf_jax.sampling.method import Method
from drf_jax.workdir import check_same, plain

FEATURE_SEED = 0
"""The feature network is the same for every run on a data set."""


def feature_network(path: Path, data: Source) -> Classifier:
    """The data set's classifier, trained once and kept in ``path``."""
    if path.exists():
        return load_classifier(path)
    classifier = train_classifier(data, FEATURE_SEED)
    save_classifier(path, classifier)
    return classifier


def fingerprint(*parts: Any) -> str:
    """A short hash of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def samples_of(
    method: Method, data: Source, seed: int, count: int, batch_size: int, path: Path, mark: str
) -> np.ndarray:
    """``count`` samples ``[n, *state]``, from the file at ``path`` if it has this mark."""
    if path.exists():
        with np.load(path) as stored:
            if str(stored["fingerprint"]) == mark:
                return stored["samples"]
    samples = generate(
        method.sampler,
        root_key(seed, SAMPLE),
        np.arange(count),
        data.image_shape,
        lambda index: condition_of(data, index),
        batch_size,
        label=method.name,
    )
    with replacing(path) as file:
        np.savez(file, samples=samples, fingerprint=mark)
    return samples


def batch_one_latency(method: Method, data: Source, repeats: int) -> float:
    """Median milliseconds of one sample alone."""
    keys = jax.random.split(jax.random.key(0), 1)
    cond = jax.tree.map(jnp.asarray, condition_of(data, np.arange(1)))
    noise = jnp.zeros((1, *data.image_shape))
    return latency(method.sampler, noise, keys, cond, repeats=repeats)["p50_ms"]


def compare(
    methods: Sequence[Method],
    reference: Method,
    data: Source,
    classifier: Classifier,
    *,
    seed: int,
    count: int,
    batch_size: int,
    out: Path,
    marks: Mapping[str, str],
    known: Sequence[Row] = (),
    repeats: int = 20,
) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Rows of the results table, and every method's samples.

    Args:
      methods: what to compare; ``reference`` (the teacher's serial sampler) need not be among them.
      classifier: feature network of the Fréchet distance.
      seed, count, batch_size: of the samples.
      out: folder of the samples.
      marks: method name -> fingerprint of what its samples depend on.
      known: rows of an earlier evaluation; those whose samples were found unchanged are kept as they are.
      repeats: timed calls at batch 1.
    """
    real, _ = take(data, range(len(data)))
    real = statistics_of(classifier.extract(real))

    def draw(method):
        path = out / "samples" / f"{method.name}.npz"
        return samples_of(method, data, seed, count, batch_size, path, marks[method.name])

    teacher = draw(reference)
    kept = {r["method"]: r for r in known}
    rows, samples = [], {}
    for method in methods:
        samples[method.name] = draw(method)
        if method.name in kept:
            rows.append(kept[method.name])
            continue
        features = classifier.extract(to_uint8(samples[method.name]))
        fidelity = rmse_to_reference(samples[method.name], teacher)
        rows.append(
            row(
                dataset=data.name,
                method=method.name,
                mode=method.mode,
                sequential_calls=method.sequential_calls,
                network_evaluations=method.network_evaluations,
                drafts=method.drafts,
                ms_batch1=batch_one_latency(method, data, repeats),
                fd=frechet_between(statistics_of(features), real),
                feature_space=FEATURE_SPACE,
                rmse_to_teacher=fidelity["mean"],
                rmse_to_teacher_p50=fidelity["p50"],
                rmse_to_teacher_p99=fidelity["p99"],
                samples=count,
                seed=seed,
            )
        )
        print_row(rows[-1])
    return rows, samples


def print_row(r: Row) -> None:
    print(
        f"{r['method']:28s} calls {r['sequential_calls']:3d}  FD {r['fd']:8.3f}  "
        f"RMSE {r['rmse_to_teacher']:.4f}  {r['ms_batch1']:.2f} ms",
        file=sys.stderr,
    )


def evaluate(config: Mapping[str, Any], workdir: str | Path, command: str) -> list[Row]:
    """Evaluate a run and write ``results.json`` and ``samples.png`` into its folder.

    For a teacher: its methods and its students'. For a student: itself.
    """
    workdir, spec = Path(workdir), build.evaluate(config)
    if build.task(config) == "teacher":
        teacher, students = load_teacher(workdir, config), spec.students
    else:
        check_same(workdir, config)
        teacher, students = load_teacher(config["teacher"]), (str(workdir),)
    loop, data, seed = build.loop(teacher.config), teacher.data, config["seed"]
    shared = (data.name, teacher.sha256, seed, spec.samples)

    methods, marks = [], {}
    for name, section in spec.methods.items():
        path = f"config.evaluate.methods.{name}"
        methods.append(build.method(name, section, teacher.denoiser, data, loop, path))
        marks[name] = fingerprint(*shared, section)
    for folder in students:
        method, params = load_student(folder, teacher)
        methods.append(method)
        marks[method.name] = fingerprint(*shared, parameter_hash(params))
    methods.sort(key=lambda m: (FAMILIES.index(family(m.name)), -m.sequential_calls))
    reference = teacher_method(teacher.config, data, teacher.denoiser)
    marks[reference.name] = fingerprint(*shared, plain(teacher.config)["sampler"])

    features = Path(spec.features) if spec.features else workdir / "features.npz"
    path = workdir / "results.json"
    rows, samples = compare(
        methods,
        reference,
        data,
        feature_network(features, data),
        seed=seed,
        count=spec.samples,
        batch_size=spec.batch_size,
        out=workdir,
        marks=marks,
        known=unchanged_rows(path, marks),
        repeats=spec.repeats,
    )
    write_results(path, rows, plain(config), command, {"fingerprints": marks})
    if len(data.image_shape) == 3:
        draw(workdir / "samples.png", rows, samples)
    return rows


def unchanged_rows(path: Path, marks: Mapping[str, str]) -> list[Row]:
    """Rows of an earlier evaluation whose fingerprints are still the same."""
    if not path.exists():
        return []
    stored = read_results(path)
    before = stored.get("fingerprints", {})
    return [r for r in stored["rows"] if before.get(r["method"]) == marks.get(r["method"])]


def draw(path: Path, rows: Sequence[Row], samples: Mapping[str, np.ndarray]) -> None:
    """The same noises down the rows, methods across."""
    notes = {r["method"]: f"{r['sequential_calls']} calls, FD {r['fd']:.2f}" for r in rows}
    images = {name: to_uint8(states[:10]) for name, states in samples.items()}
    sample_figure(path, images, rows=10, subtitles=notes)


COLUMNS = {
    "method": "method",
    "sequential_calls": "sequential calls",
    "network_evaluations": "evaluations",
    "drafts": "drafts",
    "fd": "FD",
    "rmse_to_teacher": "RMSE to teacher",
    "rmse_to_teacher_p99": "p99",
    "ms_batch1": "ms (batch 1)",
}


def table(rows: Sequence[Row]) -> str:
    return markdown_table(rows, COLUMNS)
