"""Flags that say which run, and which of its checkpoints: what ``train``, ``sample`` and ``evaluate`` share."""

from collections.abc import Sequence

from absl import flags

from drf_jax import build
from drf_jax.cli.config_file import define_config
from drf_jax.errors import UserError
from drf_jax.training.checkpoint import Which


def define_run(f: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    flags.DEFINE_string("workdir", "", "folder of the run", flag_values=f)
    return define_config(f, argv)


def define_checkpoint(f: flags.FlagValues) -> None:
    flags.DEFINE_string("checkpoint", "latest", "latest, best or a step", flag_values=f)


def checkpoint_of(f: flags.FlagValues) -> Which:
    """``--checkpoint``; a student has no best one, and is sampled with its newest."""
    word = f.checkpoint
    if word != "latest" and build.task(f.config) != "teacher":
        raise UserError(f"--checkpoint {word}: only a teacher's can be chosen; leave it out")
    if word in ("latest", "best"):
        return word
    if not word.isdecimal():
        raise UserError(f"--checkpoint {word}: must be latest, best or the number of a step")
    return int(word)
