"""A training of a given number of seconds: as many updates as fit, which a probe in the same process tells.

    images → probe → updates → trajectories → training

`drf_jax.runs.budget` has the mathematics. The images that a training learns from are decoded before it: an update of
the epoch that decodes may take several times the seconds of a later one. Probe and training share their compiled
updates, so both together start and compile once. What was found out is in ``<run>/budget.json``, and a run that goes
on keeps to it.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from drf_jax import build
from drf_jax.address import is_address
from drf_jax.atomic import replacing
from drf_jax.config import changed
from drf_jax.data.decoded import decode_all
from drf_jax.data.source import Source
from drf_jax.errors import UserError
from drf_jax.lock import hold
from drf_jax.runs.budget import (
    probe_changes,
    schedule,
    seconds_per_update,
    updates_within,
)
from drf_jax.runs.distil import train_distilled
from drf_jax.runs.preparation import prepare, seconds_each
from drf_jax.runs.teacher import train_teacher
from drf_jax.training.programs import Programs
from drf_jax.workdir import read_config

RUNS = {"teacher": train_teacher, "distill": train_distilled}
BUDGET, PROBE = "budget.json", "probe"
PREPARATION = "preparation_seconds"
"""In a budget, once the trajectories are made."""
EVERY = 10
"""Updates of a line of a probe."""
Budget = dict[str, float]


def train_for(
    config: Mapping[str, Any],
    workdir: str | Path,
    seconds: float,
    pool: Path | None = None,
    every: int = EVERY,
    updates: int = 0,
) -> Budget:
    """Train for so many seconds, those of cached trajectories included; what is in ``budget.json``.

    Args:
      config: of the run; the lengths in it give the shares of its phases only.
      workdir: of the run.
      seconds: compilation, checkpoints and sample grids are not counted.
      pool: where students of a teacher share their trajectories (`drf_jax.runs.preparation`).
      every: updates of a line of the probe, which has a few lines in each phase.
      updates: how many to make, where that is known already; there is no probe then.

    Raises:
      UserError: the run was planned for other seconds, there are several processes, or what the training raises.
    """
    if is_address(workdir):
        raise UserError(f"{workdir} is an address: a training of given seconds is one in a folder")
    if jax.process_count() > 1:
        raise UserError(
            "a training of given seconds is one process's: each of several would plan its own updates"
        )
    workdir, programs = Path(workdir), Programs()
    workdir.mkdir(parents=True, exist_ok=True)
    hold(workdir)
    data = source_of(config)  # held here, its decoded images are those of all sources of the runs
    if "trajectories" not in config.get("method", {}):
        decode_all(data)
    path = workdir / BUDGET
    if path.exists():
        budget = json.loads(path.read_text())
        if budget["seconds"] != seconds:
            raise UserError(
                f"{workdir} was planned for {budget['seconds']:g} seconds, not {seconds:g}"
            )
    else:
        budget = {"seconds": seconds, "updates": updates}
        if not updates:
            budget |= probed(config, workdir, seconds, every, programs)
        write(path, budget)
    last = changed(config, schedule(config, int(budget["updates"])))
    if PREPARATION not in budget:  # killed in it, a run goes on with as many trajectories
        budget[PREPARATION] = prepare(last, workdir, pool)
        write(path, budget)
    RUNS[build.task(last)](last, workdir, programs)
    return budget


def source_of(config: Mapping[str, Any]) -> Source:
    """The data of a run: its own, or its teacher's."""
    return build.source(read_config(config["teacher"]) if "teacher" in config else config)


def write(path: Path, budget: Budget) -> None:
    with replacing(path) as file:
        file.write(json.dumps(budget).encode())


def probed(
    config: Mapping[str, Any], workdir: Path, seconds: float, every: int, programs: Programs
) -> Budget:
    """Find out how many updates fit."""
    probe = workdir / PROBE
    shutil.rmtree(probe, ignore_errors=True)
    short = changed(config, probe_changes(config, every))
    RUNS[build.task(short)](short, probe, programs)
    own, trajectory = seconds_per_update(probe, config, every), seconds_each(probe)
    shutil.rmtree(probe)
    made = config.get("method", {}).get("trajectories", 0)
    whole = own + trajectory * made / config["train"]["steps"]
    return {
        "seconds_per_update": own,
        "seconds_per_trajectory": trajectory,
        "updates": updates_within(seconds, whole),
    }
