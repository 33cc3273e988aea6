"""``drf <command>``: flags -> config -> run. Errors of the user are one line and exit code 2."""

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from absl import flags, logging
from ml_collections import config_flags

from drf_jax import build
from drf_jax.errors import UserError

USAGE = """usage: drf <command> [flags]

  drf train     --config FILE[:arg] --workdir DIR [--config.key=value ...]   train a teacher or a student
  drf sample    --config FILE[:arg] --workdir DIR [--count N] [--out PNG]    draw samples of a run
  drf evaluate  --config FILE[:arg] --workdir DIR                            table and picture of a run
  drf demo      [--out DIR] [--arg smoke]                                    everything, on the embedded digits
"""


def train(f: flags.FlagValues) -> None:
    from drf_jax.runs.student import train_student
    from drf_jax.runs.teacher import train_teacher

    runs = {"teacher": train_teacher, "draft_refine": train_student}
    runs[build.task(f.config)](f.config, f.workdir)


def sample(f: flags.FlagValues) -> None:
    from drf_jax.runs.sample import sample

    path = Path(f.out) if f.out else Path(f.workdir) / "samples" / "grid.png"
    sample(f.config, f.workdir, path, f.count)
    print(path)


def evaluate(f: flags.FlagValues) -> None:
    from drf_jax.runs.evaluate import evaluate, table

    print(table(evaluate(f.config, f.workdir, command())))


def demo(f: flags.FlagValues) -> None:
    from drf_jax.runs.demo import demo
    from drf_jax.runs.evaluate import table

    print(table(demo(f.out, f.arg, command())))
    print(f"{f.out}/results.json  {f.out}/samples.png  {f.out}/quality.png")


def command() -> str:
    """What the user typed, to stand beside the figures."""
    return shlex.join(["drf", *sys.argv[1:]])


def define_run(f: flags.FlagValues) -> None:
    config_flags.DEFINE_config_file(
        "config", None, "file with get_config(arg), as FILE or FILE:arg", flag_values=f
    )
    flags.DEFINE_string("workdir", None, "folder of the run", flag_values=f)
    flags.mark_flags_as_required(["config", "workdir"], flag_values=f)


def define_sample(f: flags.FlagValues) -> None:
    define_run(f)
    flags.DEFINE_string("out", "", "picture to write; in the run's folder unless given", flag_values=f)
    flags.DEFINE_integer("count", 64, "samples to draw", lower_bound=1, flag_values=f)


def define_demo(f: flags.FlagValues) -> None:
    flags.DEFINE_string("out", "runs/demo", "folder of everything", flag_values=f)
    flags.DEFINE_string("arg", "", "argument of the configs, such as smoke", flag_values=f)


COMMANDS: dict[str, tuple[Callable, Callable]] = {
    "train": (define_run, train),
    "sample": (define_sample, sample),
    "evaluate": (define_run, evaluate),
    "demo": (define_demo, demo),
}


def compilation_cache() -> None:
    """Keep compiled programs across runs, unless the user says where or that not (an empty variable)."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "drf_jax" / "xla"
        jax.config.update("jax_compilation_cache_dir", str(cache))


def main(argv: Sequence[str]) -> int:
    """Run ``argv`` (without the program's name); returns the exit code."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0 if argv else 2
    logging.set_verbosity(logging.WARNING)
    try:
        if argv[0] not in COMMANDS:
            raise UserError(f"unknown command {argv[0]!r}: choose one of {', '.join(COMMANDS)}")
        define, act = COMMANDS[argv[0]]
        values = parse(define, argv)
        compilation_cache()
        act(values)
    except UserError as error:
        print(f"drf: {error}", file=sys.stderr)
        return 2
    return 0


def parse(define: Callable[[flags.FlagValues], None], argv: Sequence[str]) -> flags.FlagValues:
    """The command's flags; whatever absl and ml_collections make of bad ones becomes a `UserError`."""
    values = flags.FlagValues()
    define(values)
    try:
        rest = values(list(argv))
    except UserError:
        raise
    except Exception as error:  # absl raises its own types, ml_collections KeyError, TypeError, ...
        raise UserError(" ".join(str(error).split())) from None
    if len(rest) > 1:
        raise UserError(f"unexpected argument {rest[1]!r}; see drf --help")
    return values


def run() -> None:
    """Entry point of the ``drf`` command."""
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main(sys.argv[1:]))
