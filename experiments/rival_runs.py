"""The trainings and evaluations behind a table of students at equal training seconds."""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rival_options import FREE, Options, Student, say
from rival_table import SHOWN, Table, keep_picture, key_of, source_of

from drf_jax import build
from drf_jax.cli.config_file import load_config
from drf_jax.config import changed, plain
from drf_jax.configs import training_free
from drf_jax.errors import UserError
from drf_jax.evaluation.extractor import load_extractor
from drf_jax.evaluation.features import FEATURE_SPACE, load_classifier
from drf_jax.evaluation.report import Row, read_results
from drf_jax.runs.budget import as_flags, schedule
from drf_jax.runs.evaluate import FILES, identity
from drf_jax.runs.features import FEATURE_SEED
from drf_jax.runs.processes import run_drf, run_logged
from drf_jax.runs.statistics import data_statistics
from drf_jax.runs.teacher import Teacher, load_teacher
from drf_jax.runs.timed import BUDGET, PREPARATION
from drf_jax.turns import VARIABLE, compiling
from drf_jax.workdir import read_config
from drf_jax.zoo.model import FEATURES, is_model
from drf_jax.zoo.pack import pack
from drf_jax.zoo.unpack import unpack

TRAIN, SCORE, TIME = (
    Path(__file__).with_name(f"rival_{name}.py") for name in ("train", "score", "time")
)


def make_teacher(o: Options, made: Table) -> Path:
    """The folder of the teacher's run: of a packed model, or of a run, given or trained, by way of one.

    So it is the same on every machine, rounded to bfloat16.
    """
    folder, packed = o.runs / "teacher", o.out / "teacher"
    data_dir = o.data_dir or load_config(o.spec(arg=o.arg)).data.get("data_dir", "")
    if not is_model(packed):
        source = Path(o.teacher)
        if not o.teacher:
            source = o.runs / "teacher-training"
            spec = o.spec(arg=o.arg)
            changes = {"data.data_dir": o.data_dir} if o.data_dir else {}
            say("teacher")
            train(o, made, "teacher", spec, changes, source, o.teacher_seconds, o.teacher_updates)
        elif is_model(o.teacher):
            unpack(o.teacher, folder, data_dir)
            source = folder
        pack(source, packed)
    unpack(packed, folder, data_dir)
    facts, grid = facts_of(load_teacher(folder)), grid_of(o)
    if facts.get("grid", "uniform") != grid:
        raise UserError(
            f"the teacher {o.teacher or folder} samples on the grid {facts.get('grid', 'uniform')!r}, and"
            f" {o.spec(arg=o.arg)}, whose grid samplers without a training walk, on {grid!r}"
        )
    made.same("teacher", facts)
    return folder


def grid_of(o: Options) -> str:
    """The grid of the teacher's config."""
    return load_config(o.spec(arg=o.arg)).sampler.get("grid", "uniform")


def facts_of(teacher: Teacher) -> dict[str, str]:
    """What a table says of its teacher; its rows are compared with what it draws on its own grid."""
    grid = teacher.config["sampler"].get("grid", "uniform")
    return {"sha256": teacher.sha256} | ({"grid": grid} if grid != "uniform" else {})


def make_features(o: Options, made: Table, teacher: Path) -> None:
    """The classifier of the features, and its statistics of the data."""
    config, path = read_config(teacher), o.out / FEATURES
    if not path.exists() and (teacher / FEATURES).exists():
        shutil.copyfile(teacher / FEATURES, path)
    make_classifier(o, config, path, config["evaluate"]["feature_steps"], FEATURE_SEED)
    classifier = load_classifier(path)
    made.same("features", dict(classifier.provenance))
    if o.judge:  # here, so that a training is not made for nothing
        judge = load_extractor(o.judge, "")
        made.same("judge", identity(judge))
        if not o.judge_statistics.exists():
            data_statistics(config, judge, o.judge_statistics)
    if not o.statistics.exists():
        data_statistics(config, classifier, o.statistics)


def make_classifier(o: Options, config: dict[str, Any], path: Path, steps: int, seed: int) -> None:
    """A classifier of a teacher's data, if it isn't there."""
    if path.exists():
        return
    say(path.stem)
    words = ["features", "train", "--config", o.spec(arg=o.arg), f"--out={path}"]
    if "data_dir" in config["data"]:
        words.append(f"--config.data.data_dir={config['data']['data_dir']}")
    log = o.runs / "logs" / f"{path.stem}.log"
    with compiling(o.environment.get(VARIABLE, "")):  # nobody times it
        run_drf([*words, f"--steps={steps}", f"--seed={seed}"], log, o.deadline, o.environment)


def train(
    o: Options,
    made: Table,
    name: str,
    spec: str,
    changes: dict[str, Any],
    workdir: Path,
    seconds: float,
    updates: int,
) -> None:
    """Train for so many updates or, if that is 0, seconds; if both are, as the config says."""
    config, log = load_config(spec), o.runs / "logs" / f"{name}.log"
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    known = made.facts["budget"].get(name)
    if seconds and (known is None or (workdir / BUDGET).exists()):
        o.runs.mkdir(parents=True, exist_ok=True)
        asked = o.runs / f"{name}.config.json"
        asked.write_text(json.dumps(plain(config)))
        given = asked, workdir, seconds, o.runs / "trajectories", o.every, updates
        try:
            words = [sys.executable, str(TRAIN), *map(str, given)]
            run_logged(words, "training", log, o.deadline, o.environment)
        finally:  # out of time, what was found out is kept
            found = (
                json.loads((workdir / BUDGET).read_text()) if (workdir / BUDGET).exists() else {}
            )
            if PREPARATION in found:
                made.note("budget", name, found)
        return
    if known is None:
        made.note("budget", name, {"updates": updates})
    updates = int(made.facts["budget"][name]["updates"])
    length = schedule(config, updates) if updates else {"train.sample_every": 0}
    words = ["train", "--config", spec, "--workdir", str(workdir), *as_flags(changes | length)]
    run_drf(words, log, o.deadline, o.environment)


def score(
    o: Options,
    made: Table,
    teacher: Path,
    name: str,
    methods: dict,
    students: list,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Rows of a student, or of the training-free samplers, into the table, with ``facts`` in each.

    They are measured by a process of its own (`rival_score`), so that several are made side by side and no other's
    Python is in the way of what is timed. Out of time, those that are done are kept.
    """
    config = read_config(teacher)
    metrics = ("fd",) if o.smoke else ("fd", "kid", "precision_recall")
    config["evaluate"] |= {
        "methods": methods,
        "students": tuple(map(str, students)),
        "metrics": metrics,
        "feature_space": FEATURE_SPACE,
        "features": str(o.out / FEATURES),
        "judge": o.judge,
        "judge_statistics": str(o.judge_statistics) if o.judge else "",
        "statistics": str(o.statistics),
        "samples": o.samples or config["evaluate"]["samples"],
    }
    command = made.command_of(name)
    budgets = [made.facts["budget"].get(each, {}) for each in (source_of(name), name)]
    preparation = sum(budget.get(PREPARATION, 0.0) for budget in budgets)
    shape = build.source(config).image_shape

    def keep(row: Row, samples: str) -> None:
        file = teacher / "samples" / samples
        row = row | {"command": command} | dict(facts or {})
        if o.jobs > 1:
            row.pop("ms_batch1", None)  # others were at work: `time_alone`
        if "train_seconds" in row:
            row = row | {"train_seconds": row["train_seconds"] + preparation}
        with made.lock:
            keep_picture(o, key_of(row), np.memmap(file, np.float32, "r", shape=(SHOWN, *shape)))
            made.rows[key_of(row)] = row
            made.save()

    asked, results = asked_of(o, name), o.runs / "evaluation" / f"{name}.json"
    asked.parent.mkdir(parents=True, exist_ok=True)
    asked.write_text(json.dumps(plain(config)))
    words = [sys.executable, str(SCORE), str(asked), str(teacher), str(results), command]
    try:
        log = o.runs / "logs" / f"{name}.log"
        run_logged(words, "evaluation", log, o.deadline, o.environment)
    finally:
        found = read_results(results) if results.exists() else {"rows": []}
        for row in found["rows"]:
            keep(row, found[FILES][row["method"]])
    made.note("made", name, True)


def free_methods(o: Options) -> dict[str, dict[str, Any]]:
    """Names of the rows without a training -> kinds of samplers and their sections of ``config.evaluate.methods``.

    They walk the grid of the teacher's config.
    """
    every = training_free.methods(o.smoke, grid=grid_of(o))
    kinds = dict.fromkeys(section["name"] for section in every.values())
    return {f"{FREE}-{k}": {n: m for n, m in every.items() if m["name"] == k} for k in kinds}


def asked_of(o: Options, name: str) -> Path:
    """The config of the evaluation of these rows."""
    return o.runs / "evaluation" / "asked" / f"{name}.json"


def ask_for_time(o: Options, teacher: Path, name: str, students: Mapping[str, Student]) -> Path:
    """The file that says what `rival_time` is to time of a student, or of the training-free samplers of that name."""
    path = o.runs / "timing" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if name in students:
        student = students[name]
        own = {"teacher": str(teacher), **student.changes}
        if "method.features" in own:
            own["method.features"] = ""  # needed to train only
        asked = {"student": changed(load_config(student.spec), own)}
    else:
        asked = {"methods": free_methods(o)[name]}
    path.write_text(json.dumps(plain(asked)))
    return path


def set_time(row: Row, found: Mapping[str, Any] | None) -> None:
    """The milliseconds of a row, unless it was made with a sampler of other evaluations than the one that was timed."""
    if not found:
        return
    if found["evaluations"] not in (None, row["network_evaluations"]):
        say(
            f"{row['method']} is not timed: it was made with {row['network_evaluations']:g} evaluations, and"
            f" takes {found['evaluations']} now; make it --again"
        )
        return
    row["ms_batch1"] = found["ms"]


def time_alone(
    o: Options,
    made: Table,
    teacher: Path,
    students: Mapping[str, Student],
    places: Sequence[Mapping[str, str]],
) -> None:
    """The milliseconds of the rows that were made beside others, here or elsewhere.

    ``places`` are the environments of processes that compile side by side and then take turns.
    """
    known = {*students, *free_methods(o)}
    names = [n for n in made.facts["made"] if n not in made.facts["timed"] and n in known]
    other_commands = filter(None, [os.environ.get(VARIABLE)])
    everybodys = os.pathsep.join([str(o.runs / "turns-of-all"), *other_commands])

    def share(i: int) -> None:
        own, out = names[i :: len(places)], o.runs / "timing" / "found" / f"{i}.json"
        if not own:
            return
        out.parent.mkdir(parents=True, exist_ok=True)
        files = [str(ask_for_time(o, teacher, name, students)) for name in own]
        words = [sys.executable, str(TIME), str(out), str(teacher), *files]
        alone = {**places[i], VARIABLE: everybodys}
        run_logged(words, "timing", o.runs / "logs" / "timing.log", o.deadline, alone)
        found = json.loads(out.read_text())
        for name, times in found["milliseconds"].items():
            with made.lock:
                for row in made.rows_of(name):
                    set_time(row, times.get(row["method"]))
            made.note("timed", name, found["where"])

    if names:
        say("timing, with nothing beside it")
    with ThreadPoolExecutor(len(places)) as pool:
        list(pool.map(share, range(len(places))))
