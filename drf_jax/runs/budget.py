"""How many updates a training may make so that it takes a given number of seconds.

A *probe*, a short run of the very program, tells the seconds c_{k,1} and c_{k,2} that an update takes before and after
the switch of stage k's objective, and the seconds p that a cached trajectory takes. With the share f of the updates
that comes before the switch (f = 1 where there is none) and T trajectories an update, as in the config,

    S = N (p T + Σ_k [f c_{k,1} + (1 − f) c_{k,2}])                                         (1)

is solved for the updates N of every stage: a short training makes fewer trajectories, and uses each as often. Of many
halvings (progressive distillation) two are probed: the first, whose teacher may be guided, and the next, which stands
for the rest. Schedules then end where the training does: the switch stays at f N and the warm-up takes at most N / 10
updates. The average needs no change: it forgets its start as it goes (`drf_jax.training.step`). So the program of the
probe is that of the training, and is compiled once.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from drf_jax.errors import UserError
from drf_jax.objectives.progressive import halvings

LINES = 4
"""Lines of the metrics in each phase of a probe; the first is not used."""
BATCHES = 3
"""Of trajectories, in a probe; the first is not timed."""
Changes = dict[str, int | float | tuple]
"""Dotted keys of a config to values, as ``--config.KEY=VALUE`` has them."""


def switch_of(config: Mapping[str, Any]) -> tuple[str, float]:
    """The key that says when the objective changes ("" where it never does), and the share f."""
    after = config.get("method", {}).get("on_policy_after")
    if after is None:
        return "", 1.0
    return "method.on_policy_after", min(1.0, after / config["train"]["steps"])


def schedule(config: Mapping[str, Any], updates: int) -> Changes:
    """What else changes in a config that trains for so many updates."""
    key, share = switch_of(config)
    changes = {
        "train.steps": updates,
        "train.log_every": max(1, updates // 20),
        "train.checkpoint_every": -(-updates // 2),
        "train.sample_every": 0,
        "optimizer.warmup": min(config["optimizer"]["warmup"], updates // 10),
    }
    changes |= {key: round(share * updates)} if key else {}
    return changes | trajectories_of(config, updates)


def trajectories_of(config: Mapping[str, Any], updates: int) -> Changes:
    """As many as are used as often as the config's are; nothing for methods without any."""
    method, steps = config.get("method", {}), config["train"]["steps"]
    if "trajectories" not in method:
        return {}
    return {"method.trajectories": max(1, round(method["trajectories"] * updates / steps))}


def probe_changes(config: Mapping[str, Any], every: int) -> Changes:
    """The config of a probe: ``LINES`` lines of ``every`` updates in each phase."""
    key, share = switch_of(config)
    phases = (share > 0) + (share < 1)
    updates = phases * LINES * every
    changes = schedule(config, updates)
    changes |= {"train.log_every": every, "train.checkpoint_every": updates}
    if "method.trajectories" in changes:
        changes["method.trajectories"] = BATCHES * config["method"]["trajectory_batch"]
    if stages_of(config) > 2:
        changes |= {"method.start": 4 * config["method"]["last"], "evaluate.calls": ()}
        if "hybrid" in config["evaluate"]:
            changes |= {"evaluate.hybrid.rounds": ()}
    return changes | ({key: LINES * every if share > 0 else 0} if key else {})


def stages_of(config: Mapping[str, Any]) -> int:
    """How many trainings a run makes, one after the other."""
    method = config.get("method", {})
    return len(halvings(method["start"], method["last"])) if "start" in method else 1


def seconds_per_update(workdir: str | Path, config: Mapping[str, Any], every: int) -> float:
    """The sum in (1) for a config, from the metrics of its probe: medians over the lines of each phase.

    Raises:
      UserError: the probe has no such metrics.
    """
    files = sorted(Path(workdir).glob("**/metrics.jsonl"), key=lambda file: file.stat().st_mtime)
    share = switch_of(config)[1]
    phases = [f for f in (share, 1 - share) if f > 0]
    stages = []
    for file in files:
        stages.append(0.0)
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for i, part in enumerate(phases):
            first, last = i * LINES * every, (i + 1) * LINES * every
            used = [x["step_ms"] for x in lines if first + every < x["step"] <= last]
            if not used:
                raise UserError(f"{file}: the probe did not come to update {last}")
            stages[-1] += part * median(used) / 1e3
    if not files:
        raise UserError(f"{workdir}: no metrics of a probe")
    return sum(stages) + (stages_of(config) - len(stages)) * stages[-1]


def updates_within(seconds: float, per_update: float) -> int:
    """N of (1) for the seconds of an update with its trajectories."""
    return max(2, int(seconds / per_update))


def as_flags(changes: Mapping[str, Any]) -> Sequence[str]:
    """``--config.KEY=VALUE`` of every change."""
    return [f"--config.{key}={value}" for key, value in changes.items()]
