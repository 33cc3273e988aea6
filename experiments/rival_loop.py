"""The loop behind a table of students: several at a time, each trained and then evaluated.

Those on one accelerator start, load and compile side by side and take turns with what is timed (`drf_jax.turns`), so
that it has work all the time and everybody's seconds are those of an accelerator alone. Rows without a training are
made beside the trainings, where there are several at a time, and before them where there is one.
"""

import contextlib
import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from absl import app, logging
from rival_options import Options, Student, say
from rival_queue import Queue
from rival_runs import make_classifier, make_features, make_teacher, score, time_alone, train
from rival_seconds import TIMING, uneven
from rival_table import Table, source_of

from drf_jax.cli.config_file import load_config
from drf_jax.cli.main import compilation_cache
from drf_jax.errors import UserError
from drf_jax.runs.accelerators import Places
from drf_jax.runs.evaluate import table
from drf_jax.runs.processes import OutOfTime
from drf_jax.turns import shared
from drf_jax.workdir import read_config

Facts = Callable[[str], dict[str, Any]]
"""Name of a student -> what its rows have besides what is measured."""


def no_facts(name: str) -> dict[str, Any]:
    return {}


def make_table(
    o: Options,
    made: Table,
    students: Mapping[str, Student],
    others: Mapping[str, Mapping[str, Any]],
    facts: Facts = no_facts,
) -> list[str]:
    """Make what is missing of the table; the names that are left when the time is up.

    ``others`` are rows without a training: name -> methods as in ``config.evaluate.methods``.
    """
    names = (*students, *others)
    if unknown := [name for name in o.only if name not in (*names, TIMING)]:
        raise UserError(f"--only {unknown[0]}: choose among {', '.join((*names, TIMING))}")
    wanted = [name for name in o.only or names if name != TIMING]
    left = lambda: [name for name in wanted if name not in made.facts["made"]]
    with contextlib.suppress(OutOfTime):
        teacher = make_teacher(o, made)
        make_features(o, made, teacher)
        to_train, free = ([n for n in left() if (n in students) == kind] for kind in (True, False))
        # Students compile for minutes; meanwhile the accelerator can make what needs no training.
        beside = o.accelerators if to_train and free and o.jobs > 1 else 0
        places, queue = Places(o.accelerators, o.jobs + beside, o.runs), Queue(o)

        def make(name: str) -> None:
            with places.one() as environment:
                own = dataclasses.replace(o, environment=environment)
                if name in others:
                    say(name)
                    new = {k: m for k, m in others[name].items() if k not in made.rows}
                    attempt(made, name, lambda: score(own, made, teacher, name, new, []))
                elif queue.enter(name):
                    done = lambda: queue.leave(name)
                    make_student(own, made, teacher, name, students[name], facts(name), done)

        with ThreadPoolExecutor(o.jobs) as pool, ThreadPoolExecutor(beside or 1) as other:
            all_of = [other.map(make, free)] if beside else []
            all_of.append(pool.map(make, to_train if beside else [*free, *to_train]))
            for each in all_of:
                list(each)
        if o.timing and (o.jobs > 1 or shared() or TIMING in o.only):
            with contextlib.ExitStack() as stack:
                one_each = Places(o.accelerators, o.accelerators, o.runs)
                own = [stack.enter_context(one_each.one()) for _ in range(o.accelerators)]
                attempt(made, TIMING, lambda: time_alone(o, made, teacher, students, own))
    return left()


def attempt(made: Table, name: str, act: Callable[[], None]) -> bool:
    """Whether it could be done; if not, the table says why, and the others go on."""
    try:
        act()
    except (UserError, OSError) as error:
        say(f"{name}: {error}")
        made.note("failed", name, str(error))
        return False
    made.note("failed", name, None)
    return True


def make_student(
    o: Options,
    made: Table,
    teacher: Path,
    name: str,
    student: Student,
    facts: dict[str, Any],
    trained: Callable[[], None] = lambda: None,
) -> None:
    """Train a student, after the one it starts from, and evaluate it. ``trained`` is called in between, also where the
    training has failed."""

    def one(name: str, student: Student, changes: dict[str, Any], seconds: float) -> None:
        changes = {"teacher": str(teacher), "seed": o.seed, **student.changes, **changes}
        if changes.get("method.features") == str(o.adversary):
            method = load_config(student.spec).method
            steps, seed = method.feature_steps, method.feature_seed
            with made.preparing:
                make_classifier(o, read_config(teacher), o.adversary, steps, seed)
        say(f"{name}: training")
        train(o, made, name, student.spec, changes, o.runs / name, seconds, o.updates)

    def training() -> None:
        if student.source is None:
            one(name, student, {}, o.seconds)
        else:
            source = source_of(name)
            one(source, student.source, {}, o.seconds / 2)
            one(name, student, {student.key: str(o.runs / source)}, o.seconds / 2)

    done = attempt(made, name, training)
    trained()
    if done:
        say(f"{name}: evaluation")
        attempt(made, name, lambda: score(o, made, teacher, name, {}, [o.runs / name], facts))


def told(o: Options, made: Table, left: Sequence[str]) -> int:
    """Print the table and what is missing; the exit code: 0 if it has every row."""
    if made.rows:
        print(table(list(made.rows.values())))
    files = [path for path in o.out.rglob("*") if path.is_file() and o.runs not in path.parents]
    size = sum(path.stat().st_size for path in files) / 2**20
    say(f"{o.out}: {len(files)} files, {size:.1f} MiB; is all that the next call needs")
    for name, took in uneven(made).items():
        say(
            f"not equal: {name} took {took:.0f} s, not {o.seconds:g}; --again={name} makes it again"
        )
    for name, error in made.facts["failed"].items():
        say(f"failed: {name}: {error}")
    if left:
        say(f"left: {', '.join(left)}; the same command goes on")
    return 1 if left else 0


def run(options: Callable[[], Options], main: Callable[[Options], int]) -> None:
    """Run an experiment's ``main``, once its flags are read, and exit with its code."""

    def begin(_: Any) -> None:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        os.environ.setdefault("XLA_FLAGS", "--xla_gpu_autotune_level=1")
        compilation_cache()
        try:
            o = options()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, o.deadline.come)
            sys.exit(main(o))
        except UserError as error:
            say(str(error))
            sys.exit(2)

    logging.set_verbosity(logging.WARNING)
    app.run(begin)
