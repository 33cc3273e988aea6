"""Compare methods: the same noises and conditions through each, then distance to the data and to the teacher.

Sample i of every method starts from the noise of index i and is conditioned like example i of the data. A method's
samples are kept in a file of ``<workdir>/samples`` (`drf_jax.evaluation.sample_files`) and its row in the results file;
both carry a fingerprint of what they depend on (method, parameters, seed; a row also count, metrics and feature
network), so that an evaluation that was killed goes on where it stopped and a second one repeats nothing.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jax.tree_util import Partial

from drf_jax import build
from drf_jax.address import copy_back, here
from drf_jax.config import plain
from drf_jax.data.conditioning import condition_of
from drf_jax.data.source import Source
from drf_jax.errors import UserError
from drf_jax.evaluation.digest import file_digest
from drf_jax.evaluation.extractor import Extractor
from drf_jax.evaluation.figure import sample_figure
from drf_jax.evaluation.generate import generate
from drf_jax.evaluation.reference import (
    compatible_statistics,
    make_reference,
    state_features,
    stored,
)
from drf_jax.evaluation.report import (
    FAMILIES,
    Row,
    family,
    markdown_table,
    read_results,
    with_circumstances,
    write_results,
)
from drf_jax.evaluation.resumable import generate_resumably
from drf_jax.evaluation.sample_files import alone_with, forget_others, sample_file
from drf_jax.evaluation.score import fd
from drf_jax.evaluation.spread import spread
from drf_jax.noise import initial_noise, sample_keys
from drf_jax.runs import cores
from drf_jax.runs.compare import Taken, compare, naming, one_sample
from drf_jax.runs.distil import load_distilled
from drf_jax.runs.features import extractor_of, judge_network
from drf_jax.runs.keys import SAMPLE, root_key
from drf_jax.runs.teacher import load_teacher, teacher_method
from drf_jax.runs.trained import Trained
from drf_jax.sampling.loops import COMPILED
from drf_jax.sampling.method import Method
from drf_jax.sampling.side_by_side import compile_side_by_side, workers
from drf_jax.training.checkpoint import Which
from drf_jax.turns import shared, turn
from drf_jax.workdir import check_same

FILES = "samples"
"""In the results: the files of the methods' samples, of the config's seed."""


def fingerprint(*parts: Any) -> str:
    """A short hash of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def calls_of(
    methods: Sequence[Method], data: Source, seed: int, batch_size: int
) -> list[tuple[Partial, tuple]]:
    """Everything that a comparison of these methods calls, with arguments like its own."""
    index = np.arange(batch_size)
    keys = sample_keys(root_key(seed, SAMPLE), index)
    batch = initial_noise(keys, data.image_shape), keys, condition_of(data, index)
    calls = [(m.sampler, args) for m in methods for args in (batch, one_sample(data))]
    return calls + [(m.cost, batch) for m in methods if m.cost is not None]


def samples_of(
    method: Method,
    data: Source,
    seed: int,
    count: int,
    batch_size: int,
    path: Path,
    mark: str,
    mesh: Mesh,
) -> np.ndarray:
    """``count`` samples ``[n, *state]``, memory mapped; those of this mark that are in ``path`` are kept."""
    sampler, root = spread(method.sampler, mesh, batch_size), root_key(seed, SAMPLE)
    cond = lambda index: condition_of(data, index)
    with alone_with(path):
        return generate_resumably(
            path, mark, sampler, root, count, data.image_shape, cond, batch_size, label=method.name
        )


def compile_beside(
    methods: Sequence[Method], data: Source, seed: int, batch_size: int, mesh: Mesh
) -> None:
    """Compile the samplers for their batches, by a sample each, before one's turn comes (`drf_jax.turns`)."""
    for method in methods:
        sampler, root = spread(method.sampler, mesh, batch_size), root_key(seed, SAMPLE)
        cond = lambda index: condition_of(data, index)
        generate(sampler, root, np.arange(1), data.image_shape, cond, batch_size)


def evaluate(
    config: Mapping[str, Any],
    workdir: str | Path,
    command: str,
    path: Path | None = None,
    which: Which = "latest",
    told: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Evaluate a run and write ``results.json`` and ``samples.png`` into its folder.

    For a teacher: its methods and its students'. For a student: its own, and those of the teacher that its config has.
    Samples of other checkpoints or settings are deleted then; not where the results go to another ``path``, so that
    several may evaluate students of one teacher side by side.

    Args:
      config: of the run; ``config.evaluate`` says what to measure.
      workdir: of the run.
      command: what was typed, for the results file.
      path: where to write the results instead, without a picture.
      which: checkpoint of a teacher.
      told: gets each new row, once it is saved.
    """
    workdir, spec = here(workdir), build.evaluate(config)
    results = path or workdir / "results.json"
    if build.task(config) == "teacher":
        teacher = load_teacher(workdir, config, which)
        students = dict.fromkeys(spec.students)
    else:
        check_same(workdir, config)
        teacher = load_teacher(config["teacher"])
        students = {str(workdir): config}
    mesh = build.mesh(config)
    loop, data, seed = build.loop(teacher.config), teacher.data, config["seed"]
    common = (data.name, teacher.sha256, seed)

    methods = build.methods(config, teacher.denoiser, data, loop)
    marks = {
        name: fingerprint(*common, build.sampler_spec(section, f"config.evaluate.methods.{name}"))
        for name, section in spec.methods.items()
    }
    trained: dict[str, Trained] = {}
    for folder, own in students.items():
        for student in load_distilled(folder, teacher, own):
            name = student.method.name
            if name in marks:
                raise UserError(f"{folder}: another method is already called {name}")
            trained[name] = student
            methods.append(student.method)
            marks[name] = fingerprint(*common, *student.depends_on)
    methods.sort(key=lambda m: (FAMILIES.index(family(m.name)), -m.sequential_calls))
    reference = teacher_method(teacher.config, data, teacher.denoiser)
    own = build.sampler_spec(teacher.config["sampler"], "config.sampler")
    marks[reference.name] = fingerprint(*common, own)
    # Where a method is the teacher's own sampler, its samples serve for both.
    reference = next((m for m in methods if marks[m.name] == marks[reference.name]), reference)

    extractor, judge = extractor_of(spec, workdir, data, config), judge_network(spec)
    for name, student in trained.items():
        check_judge(name, student.judge, extractor)
        if judge is not None:
            check_judge(name, student.judge, judge, "judge")
    measured = measurement(spec, extractor, data, judge)
    row_marks = {name: fingerprint(mark, measured) for name, mark in marks.items()}

    folder = workdir / "samples"

    def place(name, seed):
        mark = fingerprint(marks[name], seed)
        return sample_file(folder, name, seed, mark), mark

    def draw(method, seed):
        at = place(method.name, seed)
        return samples_of(method, data, seed, spec.samples, spec.batch_size, *at, mesh)

    def count(method, seed):
        return generate(
            spread(method.cost, mesh, spec.batch_size),
            root_key(seed, SAMPLE),
            np.arange(spec.samples),
            data.image_shape,
            lambda index: condition_of(data, index),
            spec.batch_size,
            label=f"{method.name}, calls",
        )

    @functools.cache
    def real():
        held_out = build.split(teacher.config, "test") if "memorisation" in spec.metrics else None
        return make_reference(
            spec.metrics,
            extractor,
            data,
            spec.samples,
            statistics=spec.statistics,
            held_out=held_out,
            limit=spec.real,
        )

    @functools.cache
    def real_to_judge():
        given = {"statistics": spec.judge_statistics, "limit": spec.real}
        return make_reference(("fd",), judge, data, spec.samples, **given)

    def judged(features):
        return {"fd_judge": fd(features, real_to_judge())["fd"]}

    known = unchanged_rows(results, row_marks)
    seconds = {name: student.train_seconds for name, student in trained.items()}
    facts = {"fingerprints": row_marks}
    facts |= {key: measured[key] for key in ("features", "judge") if key in measured}
    facts[FILES] = {method.name: place(method.name, seed)[0].name for method in methods}

    def keep(rows):
        write_results(results, rows, plain(config), command, facts)
        copy_back()
        told(rows[-1])

    seeds = range(seed, seed + spec.seeds)
    already: dict[tuple[str, int], Taken] = {}

    def take(method, seed):
        key = method.name, seed
        if key not in already:
            states, teacher = draw(method, seed), draw(reference, seed)
            with naming(method):
                features = state_features(extractor, states)
                seen = None if judge is None else state_features(judge, states)
            cost = None if method.cost is None else count(method, seed).mean(0)
            already[key] = Taken(states, teacher, features, seen, cost)
        return already[key]

    kept = {r["method"] for r in known}
    new = [method for method in methods if method.name not in kept]
    if shared():
        drawn = not new or place(reference.name, seed)[0].exists()
        first = {m.name: m for m in (*new, *([] if drawn else [reference]))}
        compile_beside(list(first.values()), data, seed, spec.batch_size, mesh)
        # One for all that needs the accelerator, before trainings: rows that are nearly made get made.
        with turn(first=True):
            for method in new:
                real()
                if judge is not None:
                    real_to_judge()
                for each in seeds:
                    take(method, each)
    elif loop is COMPILED and mesh.size == 1:
        calls = calls_of(new, data, seed, spec.batch_size)
        compile_side_by_side(calls, workers(cores.count()))
    asked = extractor.feature_space, take, real, spec, seed, known, seconds, keep, judged
    rows = compare(methods, data, *asked)
    write_results(results, rows, plain(config), command, facts)
    if path is None:
        forget_others(place(name, each)[0] for name in marks for each in seeds)
        images = {method.name: stored(draw(method, seed)[:10]) for method in methods}
        picture(workdir / "samples.png", rows, images)
    return rows


def check_judge(name: str, judge: str, extractor: Extractor, key: str = "features") -> None:
    """Raise if a student was trained to please the feature network that would score it.

    ``judge`` is the hash of the classifier that its training looked through, if any; ``key`` of ``config.evaluate``
    names the feature network.
    """
    if judge == extractor.weights_sha256:
        raise UserError(
            f"{name}: its training looked through the feature network of this evaluation"
            f" ({extractor.feature_space}, SHA-256 {judge[:12]}…); use another in config.evaluate.{key}"
        )


def measurement(
    spec: build.Evaluate, extractor: Extractor, data: Source, judge: Extractor | None = None
) -> dict[str, Any]:
    """What a row depends on besides its samples; a statistics file that doesn't fit is refused here."""
    if spec.statistics:
        compatible_statistics(spec.statistics, extractor, data)
    judged = {}
    if judge is not None:
        judged["judge"] = identity(judge)
        if spec.judge_statistics:
            compatible_statistics(spec.judge_statistics, judge, data)
            judged["judge_statistics"] = file_digest(spec.judge_statistics)
    return {
        "metrics": spec.metrics,
        "samples": spec.samples,
        "seeds": spec.seeds,
        "real": spec.real,
        "statistics": file_digest(spec.statistics) if spec.statistics else "",
        "features": identity(extractor),
        **judged,
    }


def identity(extractor: Extractor) -> dict[str, Any]:
    """What tells a feature network from others."""
    return {
        "feature_space": extractor.feature_space,
        "resize": extractor.resize,
        "weights_sha256": extractor.weights_sha256,
        "provenance": dict(extractor.provenance),
    }


def unchanged_rows(path: Path, marks: Mapping[str, str]) -> list[Row]:
    """Rows of an earlier evaluation whose fingerprints are still the same."""
    if not path.exists():
        return []
    stored = read_results(path)
    before = stored.get("fingerprints", {})
    rows = with_circumstances(stored)
    return [r for r in rows if before.get(r["method"]) == marks.get(r["method"])]


def picture(path: Path, rows: Sequence[Row], images: Mapping[str, np.ndarray]) -> None:
    """The same noises down the rows, methods across."""
    notes = {
        r["method"]: f"{r['sequential_calls']:.3g} calls"
        + (f", FD {r['fd']:.2f}" if "fd" in r else "")
        for r in rows
    }
    sample_figure(path, images, rows=10, subtitles=notes)


COLUMNS = {
    "method": "method",
    "ablation": "change",
    "sequential_calls": "sequential calls",
    "network_evaluations": "evaluations",
    "drafts": "drafts",
    "fd": "FD",
    "fd_judge": "FD, judge",
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "nearest_ratio": "nearest ratio",
    "suspicious_share": "suspicious",
    "rmse_to_teacher": "RMSE to teacher",
    "rmse_to_teacher_p99": "p99",
    "psnr_to_teacher": "PSNR",
    "ms_batch1": "ms (batch 1)",
    "train_seconds": "training, s",
}


def table(rows: Sequence[Row]) -> str:
    """A Markdown table of what these rows have."""
    return markdown_table(
        rows, {key: name for key, name in COLUMNS.items() if any(key in r for r in rows)}
    )
