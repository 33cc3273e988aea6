"""What a config describes: the keys of each kind of run, how long it trains and with which optimizer."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from drf_jax.config import at_least, choose, read
from drf_jax.errors import UserError
from drf_jax.training.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class TeacherRun:
    """The keys of a teacher's config."""

    task: str
    seed: int
    data: dict
    process: dict
    output: str
    network: dict
    objective: dict
    optimizer: dict
    train: dict
    mesh: dict
    sampler: dict
    evaluate: dict


@dataclasses.dataclass(frozen=True)
class DistilledRun:
    """The keys of a config that distils a teacher by one of `drf_jax.build.distillation.METHODS`."""

    task: str
    seed: int
    teacher: str
    method: dict
    optimizer: dict
    train: dict
    mesh: dict
    evaluate: dict


TASKS = {"teacher": TeacherRun, "distill": DistilledRun}


def task(config: Mapping[str, Any]) -> str:
    """Which kind of run a config describes.

    Raises:
      UserError: unknown task, or the config has not the keys of that task, or a seed out of range.
    """
    run = read(choose(TASKS, config.get("task"), "config.task"), config, "config")
    if not 0 <= run.seed < 2**32:
        raise UserError(f"config.seed = {run.seed}: must be at least 0 and below 2**32")
    return run.task


def check_task(config: Mapping[str, Any], wanted: str, where: str) -> None:
    """Raise unless the config describes a run of this kind; ``where`` it was found."""
    found = task(config)
    if found != wanted:
        raise UserError(f"{where}: config.task is {found!r}, and {wanted!r} is needed here")


@dataclasses.dataclass(frozen=True)
class Train:
    """How long and how often; ``seed`` is the config's own.

    ``max_skipped`` updates in a row without a finite loss and gradient stop the run; ``profile`` updates are traced.
    The loss on ``held_out`` examples, which a teacher then does not train on, is measured every ``evaluate_every``
    updates (0: never); besides the newest ``keep`` checkpoints the best ``keep_best`` by it stay.
    """

    steps: int
    batch_size: int
    ema: float = 0.999
    accumulate: int = 1
    log_every: int = 100
    checkpoint_every: int = 1000
    sample_every: int = 0
    keep: int = 2
    tensorboard: bool = False
    max_skipped: int = 10
    profile: int = 0
    held_out: int = 0
    evaluate_every: int = 0
    keep_best: int = 0

    def __post_init__(self):
        positive = ("steps", "batch_size", "accumulate", "log_every", "checkpoint_every", "keep")
        at_least(1, self, "config.train", *positive, "max_skipped")
        at_least(0, self, "config.train", "sample_every", "profile")
        at_least(0, self, "config.train", "held_out", "evaluate_every", "keep_best")
        if not 0 <= self.ema < 1:
            raise UserError(f"config.train.ema = {self.ema}: must be at least 0 and below 1")
        if self.batch_size % self.accumulate:
            raise UserError(
                f"config.train.accumulate = {self.accumulate}: must divide batch_size = {self.batch_size}"
            )
        if self.held_out % self.batch_size:
            raise UserError(
                f"config.train.held_out = {self.held_out}: must be a multiple of batch_size = {self.batch_size}"
            )
        if self.evaluate_every and not self.held_out:
            raise UserError(
                f"config.train.evaluate_every = {self.evaluate_every}: config.train.held_out = 0 leaves nothing"
                " to measure on"
            )
        if self.keep_best and (
            not self.evaluate_every or self.checkpoint_every % self.evaluate_every
        ):
            raise UserError(
                f"config.train.keep_best = {self.keep_best}: evaluate_every = {self.evaluate_every} must divide"
                f" checkpoint_every = {self.checkpoint_every}, so that every checkpoint has a held-out loss"
            )


def train(config: Mapping[str, Any]) -> Train:
    made = read(Train, config["train"], "config.train")
    if made.held_out and config["task"] != "teacher":
        raise UserError(
            f"config.train.held_out = {made.held_out}: a student has no held-out loss that ranks it; leave it 0"
        )
    return made


def optimizer(config: Mapping[str, Any]) -> Optimizer:
    return read(Optimizer, config["optimizer"], "config.optimizer")
