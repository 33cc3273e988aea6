"""A table of students as a file that is always whole, and what is drawn from that of all rivals."""

import math
import os
import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from quality_panels import quality_panels
from rival_options import CALLS, Options

from drf_jax.atomic import replacing
from drf_jax.errors import UserError
from drf_jax.evaluation.depths import depth_figure
from drf_jax.evaluation.lines import line_figure
from drf_jax.evaluation.reference import stored
from drf_jax.evaluation.report import (
    FAMILIES,
    Row,
    family,
    read_results,
    with_circumstances,
    write_results,
)
from drf_jax.zoo.model import shipped

SHOWN = 4
"""Samples of each row in the picture."""


def key_of(row: Row) -> str:
    """What tells a row from the others: its method, or what was changed to make it."""
    return row.get("ablation", row["method"])


def by_family(row: Row) -> tuple[int, int]:
    return FAMILIES.index(family(row["method"])), -row["sequential_calls"]


def agree(known: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether the facts are the same, numbers up to rounding: one that is trained again sums in another order."""

    def same(a, b):
        return math.isclose(a, b, rel_tol=1e-9) if type(a) is type(b) is float else a == b

    return known.keys() == found.keys() and all(same(known[k], found[k]) for k in known)


class Table:
    """The rows so far and what is known of the trainings, in one file that is always whole."""

    def __init__(self, options: Options, order: Callable[[Row], Any] = by_family):
        self.options, self.order = options, order
        self.lock, self.preparing = threading.Lock(), threading.Lock()
        self.path = options.out / options.file
        self.rows: dict[str, Row] = {}
        kinds = ("budget", "made", "timed", "failed", "features", "judge", "teacher")
        self.facts: dict[str, Any] = {kind: {} for kind in kinds}
        self.now = {"jobs": options.jobs, "xla_flags": os.environ.get("XLA_FLAGS", "")}
        self.before = self.now
        if self.path.exists():
            found = read_results(self.path)
            theirs, ours = found["config"], options.identity()
            theirs = {"seed": 0} | theirs  # once there was no other
            if differs := [key for key in ours if theirs.get(key) != ours[key]]:
                key = differs[0]
                raise UserError(
                    f"{self.path} was made with --{key}={theirs.get(key)}, not {ours[key]}; use another --out"
                )
            self.rows = {key_of(r): r for r in with_circumstances(found)}
            self.before = {key: found["config"].get(key) for key in self.now}
            self.facts = {key: found.get(key, {}) for key in self.facts}

    def save(self) -> None:
        rows = sorted(self.rows.values(), key=self.order)
        added = any("git" not in r for r in rows)
        config = self.options.identity() | (self.now if added else self.before)
        write_results(self.path, rows, config, shlex.join(self.words()), self.facts)

    def note(self, kind: str, name: str, value: Any) -> None:
        """Keep a fact: ``kind`` is budget, made, timed or failed. None takes it away."""
        with self.lock:
            self.facts[kind].pop(name, None)
            if value is not None:
                self.facts[kind][name] = value
            self.save()

    def same(self, kind: str, found: dict[str, Any]) -> None:
        """Keep what the rows are made with: ``kind`` is features, judge or teacher.

        Raises:
          UserError: those that are there were made with another.
        """
        known = self.facts[kind]
        if not (self.rows and known):
            self.facts[kind] = found
        elif not agree(known, found):
            raise UserError(
                f"the rows in {self.path} were made with the {kind} {known}, not {found}; use another --out"
            )

    def rows_of(self, name: str) -> list[Row]:
        """Those that one student, or one kind of samplers without a training, has."""
        return [r for r in self.rows.values() if f"--only={name}" in r["command"].split()]

    def words(self) -> list[str]:
        """The command that makes the whole table."""
        o = self.options
        script = f"experiments/{o.script}.py"
        words = ["python", script, f"--data={o.data}", f"--seconds={o.seconds:g}"]
        more = [key for key in o.identity() if key not in ("data", "seconds", "smoke")]
        words += [f"--{key}={getattr(o, key)}" for key in more if getattr(o, key)]
        words += [f"--teacher={o.teacher}"] * (o.teacher in shipped())
        updates = self.facts["budget"].get("teacher", {}).get("updates")
        words += [f"--judge={o.judge}"] * bool(o.judge)
        return words + ["--smoke"] * o.smoke + [f"--teacher_updates={updates}"] * bool(updates)

    def command_of(self, name: str) -> str:
        """The one that remakes the rows of a student from nothing."""
        budget = self.facts["budget"]
        updates = 0 if source_of(name) in budget else budget.get(name, {}).get("updates", 0)
        own = [f"--only={name}", *[f"--updates={updates}"] * bool(updates)]
        return shlex.join([*self.words(), *own])


def source_of(name: str) -> str:
    """What the training that a student starts from is called."""
    return f"{name}-source"


def pictures_of(o: Options) -> Path:
    """The first samples of every row."""
    return o.out / f"pictures{o.suffix}.npz"


def keep_picture(o: Options, key: str, states: np.ndarray) -> None:
    """Add a row's first samples to those of the others."""
    path = pictures_of(o)
    found = dict(np.load(path)) if path.exists() else {}
    with replacing(path) as file:
        np.savez_compressed(file, **found | {key: stored(states)})


def draw(made: Table, folder: Path) -> None:
    """FD against calls and against milliseconds, and the same noises through every family."""
    data, rows = made.options.data, list(made.rows.values())
    best: dict[tuple[str, float], Row] = {}
    for r in rows:
        key = family(r["method"]), r["sequential_calls"]
        if key not in best or r["fd"] < best[key]["fd"]:
            best[key] = r
    title = f"{data}, {made.options.seconds:g} s a student"
    panels = quality_panels(title, list(best.values()))
    line_figure(folder / f"rivals_{data}.png", panels, one_legend=True)
    with np.load(pictures_of(made.options)) as pictures:
        cells = {key: pictures[r["method"]] for key, r in best.items() if key[1] in CALLS}
    if not cells:
        return
    order = sorted(cells, key=lambda key: FAMILIES.index(key[0]))
    depth_figure(
        folder / f"rivals_{data}_samples.png", {key: cells[key] for key in order}, CALLS, SHOWN
    )
