"""A run's folder: which experiment it holds, and where things are.

config.json    the config of the run, written before anything else
checkpoints/   orbax steps             metrics.jsonl    one line per log step
stage-*/       the same, of each stage of a run that has several
samples/       pictures on the way     results.json     of `drf evaluate`
profile/       traces of `--profile`   .lock            who writes here (`drf_jax.lock`)
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from drf_jax import address
from drf_jax.atomic import replacing
from drf_jax.config import plain
from drf_jax.errors import UserError
from drf_jax.lock import hold

FREE = (
    "evaluate",
    "mesh",
    "train.log_every",
    "train.checkpoint_every",
    "train.sample_every",
    "train.evaluate_every",
    "train.keep",
    "train.keep_best",
    "train.tensorboard",
    "train.max_skipped",
    "train.profile",
    "network.remat",
    "network.attention_backend",
)
"""Keys that may differ from those the run was started with: they don't change what is trained."""


RENAMED = {"objective.label_dropout": "objective.cond_dropout"}
"""Keys as runs of earlier versions have them, and their names now."""

ABSENT = {
    "train.held_out": 0,
    "method.grid": "uniform",
    "method.source": "",
    "method.drafter": "heads",
    "method.share": "none",
    "method.lora_rank": 0,
    "method.draft_weight": 1.0,
    "method.refine_weight": 1.0,
    "method.cross_draft": "every_block",
    "method.cross_draft_width": 0,
    "method.gradient": "through",
    "method.gradient_between_rounds": "stopped",
    "method.end_weight": 0.0,
    "method.spacing": 1.0,
    "method.high_frequency_weight": 0.0,
    "method.perceptual_weight": 0.0,
    "method.adversarial_weight": 0.0,
    "method.r1_weight": 0.01,
    "method.discriminator_learning_rate": 1e-3,
    "method.features": "",
    "method.feature_steps": 600,
    "method.feature_seed": 1,
}
"""Keys that runs of earlier versions lack, and what those did."""


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys to values."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def difference(stored: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    """The first key in which two configs train something else, or None."""
    a, b = (
        {RENAMED.get(key, key): value for key, value in flatten(plain(config)).items()}
        for config in (stored, given)
    )
    for key in sorted(a.keys() | b.keys()):
        free = any(key == name or key.startswith(f"{name}.") for name in FREE)
        there, here = (c.get(key, ABSENT.get(key, "not set")) for c in (a, b))
        if not free and there != here:
            return f"config.{key} is {there!r} there and {here!r} here"
    return None


def read_config(workdir: str | Path) -> dict[str, Any]:
    """The config of the run in ``workdir``.

    Raises:
      UserError: no run there, an unreadable config.json, or an address that cannot be read.
    """
    folder = address.here(workdir)
    path, workdir = folder / "config.json", address.shown(folder)
    if not path.exists():
        path = workdir / "config.json"
        raise UserError(f"no run in {workdir}: {path} is missing; train it first with drf train")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is not readable JSON: {error}") from None


def check_same(workdir: str | Path, config: Mapping[str, Any]) -> None:
    """Raise unless the run in ``workdir`` is this experiment."""
    differs = difference(read_config(workdir), config)
    if differs:
        workdir = address.shown(address.here(workdir))
        raise UserError(
            f"{workdir} holds another experiment: {differs}; use another --workdir or that config"
        )


def claim(workdir: str | Path, config: Mapping[str, Any]) -> Path:
    """Make ``workdir`` this experiment's, or check that it already is, and keep other runs out of it.

    A run that was started and has saved nothing yet may be started again with another config. The folder is this
    process's until it ends. Of several processes of one run the first does all of this.

    Returns:
      The run's folder, which of an address is its copy on this host (`drf_jax.address`).

    Raises:
      UserError: it holds another experiment, is in use by another run, or cannot be written.
    """
    workdir = address.here(workdir, to_train=True)
    if jax.process_index() > 0:
        return workdir
    path, saved = workdir / "config.json", address.there(workdir)
    with address.naming(saved):
        started = any(any(saved.glob(f"{stage}checkpoints/*")) for stage in ("", "stage-*/"))
    if started:
        check_same(workdir, config)
    text = json.dumps(plain(config), indent=1)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        hold(workdir)
        address.claim(workdir)
        if not started:
            with replacing(path) as file:
                file.write(text.encode())
    except OSError as error:
        raise UserError(f"cannot write to {workdir}: {error.strerror}") from None
    address.copy_back()
    return workdir
