"""``--config FILE[:arg]`` and ``--config.key=value``: what a config file's ``get_config`` returns, then changed.

`ml_collections.config_flags` parses the changes with the types of the values that are there. The file is read here,
and the keys are looked up here, so that every mistake in either is one line that says where it is.
"""

import re
import runpy
import traceback
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from drf_jax.errors import UserError


def define_config(f: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    """Define ``f.config``, and give back ``argv`` (with the command's name) without ``--config FILE``.

    Raises:
      UserError: no file is named, it does not give a config, or a changed key is not in it.
    """
    first = flags.FlagValues()
    flags.DEFINE_string("config", "", "file with get_config(arg)", flag_values=first)
    first.set_gnu_getopt(True)
    rest = first(list(argv), known_only=True)
    if not first.config:
        raise UserError("--config is missing: a file with get_config(arg), as FILE or FILE:arg")
    config = load_config(first.config)
    for word in rest[1:]:
        if match := re.match(r"--?(?:no)?config\.([^=]*)", word):
            check_key(config, match[1])
    config_flags.DEFINE_config_dict("config", config, flag_values=f, sys_argv=rest)
    return rest


def load_config(spec: str) -> ConfigDict:
    """Call ``get_config()`` of ``FILE``, or ``get_config(arg)`` for ``FILE:arg``.

    Raises:
      UserError: there is no such file, it cannot be run, or it does not return a ConfigDict.
    """
    path, _, arg = spec.partition(":")
    if not Path(path).is_file():
        raise UserError(f"--config {path}: no such file")
    try:
        names = runpy.run_path(path)
        if "get_config" not in names:
            raise UserError(f"--config {path}: the file has no function get_config(arg)")
        config = names["get_config"](*[arg] if arg else [])
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"--config {spec}: {line_of(error, path)}{describe(error)}") from None
    if not isinstance(config, ConfigDict):
        kind = type(config).__name__
        raise UserError(f"--config {path}: get_config must return a ConfigDict, not {kind}")
    return config


def line_of(error: Exception, path: str) -> str:
    """``line 12: `` for the last line of the file that took part in an error."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
    if isinstance(error, SyntaxError) and error.filename == path:
        lines.append(error.lineno)
    return f"line {lines[-1]}: " if lines else ""


def describe(error: Exception) -> str:
    """An exception's type and message."""
    return f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"


def check_key(config: ConfigDict, key: str) -> None:
    """Raise unless the dotted ``key`` is in the config."""
    path = "config"
    for name in key.split("."):
        if not isinstance(config, ConfigDict):
            raise UserError(f"--config.{key}: {path} = {config!r} is a value without keys")
        if name not in config:
            raise UserError(f"--config.{key}: unknown key; allowed in {path}: {', '.join(config)}")
        config, path = config[name], f"{path}.{name}"
