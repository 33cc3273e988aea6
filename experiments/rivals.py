"""Every rival at equal training seconds: one command for the table of {method × sequential calls}.

    python experiments/rivals.py --data digits --seconds 60
    python experiments/rivals.py --data fashion_mnist32 --data_dir ~/data --seconds 60 --jobs 2
    python experiments/rivals.py --data digits --only lcm --updates 2000         one student's rows
    python experiments/rivals.py --data digits --publish                         results/ and docs/pictures/

The teacher, the classifier of the features and its statistics come first. Then every student that the data set's
configs offer is trained for the same seconds, ``--jobs`` processes at a time, and evaluated when no training runs, in
one loop with the samplers that need no training (configs/training_free.py). A student's seconds are those of its
updates and of its cached trajectories, not of compilation: see `drf_jax.runs.budget` for how many updates that makes.

    OUT/rivals_DATA.json   the table, saved after every row             OUT/teacher*         the packed teacher
    OUT/pictures.npz       a few samples of every row                   OUT/features.npz     what FD is measured with
    RUNS/*                 the runs, logs, samples: what can be made again

A second call goes on where the first stopped. With ``--deadline S`` it stops in time, and OUT alone is enough to go on,
on another machine, too: a student whose rows are there is not trained again.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from rival_options import FREE, ROOT, Options, offered, say
from rival_runs import make_classifier, make_features, make_teacher, score, train
from rival_table import Table, draw

from drf_jax.cli.config_file import load_config
from drf_jax.cli.main import compilation_cache
from drf_jax.configs import training_free
from drf_jax.errors import UserError
from drf_jax.runs.evaluate import table
from drf_jax.runs.processes import Deadline, OutOfTime
from drf_jax.workdir import read_config

SPARE = 20.0
"""Seconds before the deadline at which everything stops."""


def rivals(o: Options, made: Table) -> list[str]:
    """Make what is missing of the table; the names that are left when the time is up."""
    students = offered(o)
    if unknown := [name for name in o.only if name not in (*students, FREE)]:
        raise UserError(f"--only {unknown[0]}: choose among {', '.join((*students, FREE))}")
    wanted = o.only or (*students, FREE)
    left = lambda: [name for name in wanted if name not in made.facts["made"]]
    with contextlib.suppress(OutOfTime):
        teacher = make_teacher(o, made)
        make_features(o, made, teacher)
        longest = 2 * o.seconds + 60
        for wave in chunks([name for name in left() if name != FREE], o.jobs):
            if o.deadline.left() < longest:
                break
            start = time.monotonic()
            train_wave(o, made, teacher, {name: students[name] for name in wave})
            longest = max(longest, time.monotonic() - start)
        if FREE in left():
            say(FREE)
            every = training_free.methods(o.smoke)
            methods = {name: every[name] for name in every if name not in made.rows}
            attempt(made, FREE, lambda: score(o, made, teacher, FREE, methods, []))
    return left()


def chunks(names: Sequence[str], size: int) -> list[Sequence[str]]:
    return [names[i : i + size] for i in range(0, len(names), size)]


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


def train_wave(
    o: Options, made: Table, teacher: Path, students: dict[str, tuple[str, dict[str, Any]]]
) -> None:
    """Train some students side by side; when all are done, evaluate one after the other."""

    def run(name: str) -> None:
        spec, changes = students[name]
        changes = {"teacher": str(teacher), **changes}
        if name == "adversarial":
            method = load_config(spec).method
            steps, seed = method.feature_steps, method.feature_seed
            make_classifier(o, read_config(teacher), o.adversary, steps, seed)
        say(f"{name}: training")
        train(o, made, name, spec, changes, o.runs / name, o.seconds, o.updates)

    with ThreadPoolExecutor(len(students)) as pool:
        act = lambda name: attempt(made, name, lambda: run(name))
        trained = list(pool.map(act, students))
    for name in (name for name, done in zip(students, trained, strict=True) if done):
        say(f"{name}: evaluation")
        attempt(made, name, lambda n=name: score(o, made, teacher, n, {}, [o.runs / n]))


def publish(made: Table, root: Path) -> None:
    """The table into results/ as it is, the pictures into docs/pictures/."""
    if not made.rows:
        raise UserError(f"{made.path}: no rows to publish")
    (root / "results").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made.path, root / "results" / made.path.name)
    draw(made, root / "docs" / "pictures")


def main(o: Options, to_publish: bool) -> int:
    """The exit code: 0 if the table has every row."""
    made = Table(o)
    if to_publish:
        publish(made, ROOT)
        return 0
    o.out.mkdir(parents=True, exist_ok=True)
    left = rivals(o, made)
    if made.rows:
        print(table(list(made.rows.values())))
        draw(made, o.runs)
    files = [path for path in o.out.iterdir() if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 2**20
    say(f"{o.out}: {len(files)} files, {size:.1f} MiB; is all that the next call needs")
    for name, error in made.facts["failed"].items():
        say(f"failed: {name}: {error}")
    if left:
        say(f"left: {', '.join(left)}; the same command goes on")
    return 1 if left else 0


if __name__ == "__main__":
    flags.DEFINE_string("data", "digits", "digits, fashion_mnist32, emoji64, cifar10")
    flags.DEFINE_float("seconds", None, "of training for every student; 60, or 2 with --smoke")
    flags.DEFINE_string("arg", "", "of the teacher's config, such as bf16")
    flags.DEFINE_integer("samples", 0, "of each method; 0: as the teacher's config says")
    flags.DEFINE_boolean("smoke", False, "tiny networks, in minutes on a CPU")
    flags.DEFINE_string("teacher", "", "folder of a trained teacher")
    flags.DEFINE_string("data_dir", "", "of the prepared data; the config's unless given")
    flags.DEFINE_float("teacher_seconds", 0, "of its training; 0: the updates of its config")
    flags.DEFINE_integer("teacher_updates", 0, "the same in updates")
    flags.DEFINE_list("only", [], f"students, or {FREE}")
    flags.DEFINE_integer("updates", 0, "of every student, instead of seconds")
    flags.DEFINE_integer("jobs", 1, "trainings at a time", lower_bound=1)
    flags.DEFINE_float("deadline", 0, "seconds after which to stop; 0: none")
    flags.DEFINE_string("out", "", "what is to be kept; runs/rivals/DATA unless given")
    flags.DEFINE_string("runs", "", "what can be made again; OUT/runs unless given")
    flags.DEFINE_boolean(
        "publish", False, "write results/ and docs/pictures/ from OUT; run nothing"
    )
    f = flags.FLAGS

    def run(_):
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        os.environ.setdefault("XLA_FLAGS", "--xla_gpu_autotune_level=1")
        compilation_cache()
        out = Path(f.out or ROOT / "runs" / "rivals" / (f.data + "_smoke" * f.smoke))
        options = Options(
            data=f.data,
            seconds=(2.0 if f.smoke else 60.0) if f.seconds is None else f.seconds,
            arg=f.arg,
            samples=f.samples,
            smoke=f.smoke,
            teacher=f.teacher,
            data_dir=f.data_dir,
            teacher_seconds=f.teacher_seconds,
            teacher_updates=f.teacher_updates,
            only=tuple(f.only),
            updates=f.updates,
            jobs=f.jobs,
            out=out.absolute(),
            runs=Path(f.runs or out / "runs").absolute(),
            deadline=Deadline(f.deadline - SPARE if f.deadline else float("inf")),
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, options.deadline.come)
        try:
            sys.exit(main(options, f.publish))
        except UserError as error:
            print(f"rivals: {error}", file=sys.stderr)
            sys.exit(2)

    logging.set_verbosity(logging.WARNING)
    app.run(run)
