"""``drf <command>``: flags -> config -> run. Errors of the user are one line and exit code 2."""

import contextlib
import gc
import os
import shlex
import sys
from collections.abc import Callable, Sequence

import jax
from absl import flags, logging

from drf_jax import address, build
from drf_jax.cache import cache_folder
from drf_jax.cli.data import define_named, define_prepare, embed_data, prepare_data
from drf_jax.cli.distributed import connect_if_asked, define_distributed
from drf_jax.cli.export import define_export, export
from drf_jax.cli.measure import define_features, define_stats, features, stats
from drf_jax.cli.models import (
    define_models,
    define_pack,
    define_unpack,
    models,
    pack,
    unpack,
)
from drf_jax.cli.plan import define_plan, plan
from drf_jax.cli.run_of import checkpoint_of, define_checkpoint, define_run
from drf_jax.cli.sample import define_sample, sample
from drf_jax.distributed import leave
from drf_jax.errors import UserError

USAGE = """usage: drf <command> [flags]

  drf train     --config FILE[:arg] --workdir DIR [--config.key=value ...]   train a teacher or a student
                [--profile] [--distributed [--coordinator HOST:PORT --processes N --process I] [--timeout S]]
  drf sample    --config FILE[:arg] --workdir DIR [--count N] [--out PNG]    draw samples of a run
                [--prompt "a red heart"] [--style noto] [--guidance 3] [--checkpoint best|STEP]
  drf sample    --model NAME|DIR [--method NAME] [--prompt ...] [--out PNG]  draw samples of a packed model
  drf evaluate  --config FILE[:arg] --workdir DIR [--checkpoint best|STEP]   table and picture of a run
  drf export    --config FILE[:arg] --workdir DIR --out NPZ [--batch N]      the run's sampler as one file
                [--platforms cpu,cuda,tpu] [--method NAME]
  drf plan      --config FILE[:arg] --topology v5e:16x16 [--mesh data=64,draft=1,model=4]
                [--program train|on_policy|sample] [--method NAME]           what it needs, before there is a TPU
  drf pack      --workdir DIR --out DIR [--title T]                          a run as a model of a few small files
  drf unpack    --model NAME|DIR --workdir DIR [--data_dir DIR]              its teacher as a run, to train students of,
                [--student DIR]                                              and its student as one
  drf models                                                                 those that come with the library
  drf demo      [--out DIR] [--arg smoke]                                    everything, on the embedded digits

  drf data prepare NAME --data_dir DIR [--title T] [--options k=v,k=v]       make a data set, once
  drf data embed NAME --data_dir DIR [--title T]                             embed its captions, once
  drf features train --config FILE --out NPZ [--steps N]                     classifier to measure FD with
  drf stats     --config FILE --out NPZ --features NPZ | --inception FILE    statistics of the real data
                [--resize pytorch-fid|clean-fid|tf1] [--tf32] [--split train]
"""

PROFILED = 5
"""Updates that ``--profile`` traces."""


def train(f: flags.FlagValues, command: str) -> None:
    from drf_jax.runs.distil import train_distilled
    from drf_jax.runs.teacher import train_teacher

    runs = {"teacher": train_teacher, "distill": train_distilled}
    if f.profile:
        with f.config.unlocked():
            f.config.train.profile = PROFILED
    runs[build.task(f.config)](f.config, f.workdir)


def evaluate(f: flags.FlagValues, command: str) -> None:
    from drf_jax.runs.evaluate import evaluate, table

    print(table(evaluate(f.config, f.workdir, command, which=checkpoint_of(f))))


def demo(f: flags.FlagValues, command: str) -> None:
    from drf_jax.runs.demo import demo
    from drf_jax.runs.evaluate import table

    print(table(demo(f.out, f.arg, command)))
    print(f"{f.out}/results.json  {f.out}/samples.png  {f.out}/quality.png")


def define_train(f: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    flags.DEFINE_bool("profile", False, "trace a few updates, for XProf", flag_values=f)
    define_distributed(f)
    return define_run(f, argv)


def define_evaluate(f: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    define_checkpoint(f)
    return define_run(f, argv)


def define_demo(f: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    flags.DEFINE_string("out", "runs/demo", "folder of everything", flag_values=f)
    flags.DEFINE_string("arg", "", "argument of the configs, such as smoke", flag_values=f)
    return list(argv)


COMMANDS: dict[str, tuple[Callable, Callable]] = {
    "train": (define_train, train),
    "sample": (define_sample, sample),
    "evaluate": (define_evaluate, evaluate),
    "export": (define_export, export),
    "plan": (define_plan, plan),
    "pack": (define_pack, pack),
    "unpack": (define_unpack, unpack),
    "models": (define_models, models),
    "demo": (define_demo, demo),
    "data prepare": (define_prepare, prepare_data),
    "data embed": (define_named, embed_data),
    "features train": (define_features, features),
    "stats": (define_stats, stats),
}
"""Words of the command -> its flags and what it does."""


def compilation_cache() -> None:
    """Keep compiled programs across runs, unless the user says where or that not (an empty variable)."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))


def main(argv: Sequence[str]) -> int:
    """Run ``argv`` (without the program's name); returns the exit code."""
    if not argv or argv[0] == "help" or {"-h", "--help"} & set(argv):
        print(USAGE)
        return 0 if argv else 2
    logging.set_verbosity(logging.WARNING)
    try:
        words = 2 if " ".join(argv[:2]) in COMMANDS else 1
        name = " ".join(argv[:words])
        if name not in COMMANDS:
            raise UserError(f"unknown command {name!r}: choose one of {', '.join(COMMANDS)}")
        define, act = COMMANDS[name]
        values = parse(define, [name, *argv[words:]])
        compilation_cache()
        connect_if_asked(values)
        try:
            act(values, shlex.join(["drf", *argv]))
        except BaseException:
            with contextlib.suppress(UserError):  # what went wrong first is what is told
                address.leave()
            raise
        address.leave()
    except UserError as error:
        return fail(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        return fail(f"cannot read or write {error.filename}: {error.strerror}")
    return 0


def fail(message: str) -> int:
    """Say what is wrong in one line; returns the exit code."""
    print(f"drf: {' '.join(message.split())}", file=sys.stderr)
    return 2


def parse(
    define: Callable[[flags.FlagValues, Sequence[str]], list[str]], argv: Sequence[str]
) -> flags.FlagValues:
    """The command's flags; whatever absl and ml_collections make of bad ones becomes a `UserError`."""
    values = flags.FlagValues()
    try:
        rest = values(define(values, argv))
    except flags.UnrecognizedFlagError as error:
        allowed = ", ".join(f"--{name}" for name in values if "." not in name)
        raise UserError(f"unknown flag --{error.flagname}; allowed: {allowed}") from None
    except flags.Error as error:
        raise UserError(str(error)) from None
    if len(rest) > 1:
        raise UserError(f"unexpected argument {rest[1]!r}; see drf --help")
    if "out" in values and address.is_address(values.out or ""):
        raise UserError(f"--out {values.out}: must be a path of a file system")
    if "workdir" in values and not values.workdir:
        raise UserError("--workdir is missing: the folder of the run")
    return values


def rarely_collect() -> None:
    """Garbage collections pass over what was imported, and come less often: much of what is traced stays."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def run() -> None:
    """Entry point of the ``drf`` command."""
    rarely_collect()
    with contextlib.suppress(BrokenPipeError):
        leave(main(sys.argv[1:]))
