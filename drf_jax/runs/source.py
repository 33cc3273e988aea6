"""Other distilled runs of a teacher whose network a student takes: to start from, or to refine in the teacher's place.

Its networks start, if not as the teacher, as the network of such a run (``config.method.source``).

    <run>/source.json    of the student: hash of that network's parameters, and the seconds of training behind them

A step-distilled student is such a start. Drafted and refined with K = 1 draft a round, its DDIM steps remain what they
are: with r_1 = d_1 = S(p_0, t_1) and p_1 made at d_1 itself, S̃(r_1, p_1, t_1 → t_2) = S(p_1, t_2) in either form. So
before its training

    draft_refine, R rounds of 1 draft               is  the source's 2 R DDIM steps, in 2 R sequential calls
    draft_refine_aggressive, R rounds of 1 draft    is  its R DDIM steps; the call after the last one is not used

on grids that agree. With more drafts it is the training-free sampler of the source, as it is otherwise of the teacher.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from drf_jax.atomic import replacing
from drf_jax.errors import UserError
from drf_jax.typing import Params

SOURCE = "source.json"
NETWORKS = ("step", "progressive", "consistency_distillation", "consistency_training", "lcm")
"""Methods whose student is a network like the teacher's, which may have an input for the guidance weight besides."""
REFINERS = ("pfgmpp",)
"""Methods whose student is the teacher's network, trained on to denoise."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Averaged parameters of a run's last stage."""

    params: Params
    sha256: str
    train_seconds: float | None
    """Of all training behind them on top of the teacher's; None if it was not recorded."""


def unreadable(folder: str) -> Source:
    raise UserError(f"{folder!r}: there are no runs here")


def check_source(workdir: Path, source: Source) -> None:
    """Raise if the run in ``workdir`` has started from other parameters."""
    if (workdir / SOURCE).exists() and noted_source(workdir)["sha256"] != source.sha256:
        raise UserError(
            f"{workdir} was started from other parameters of config.method.source: they had SHA-256"
            f" {noted_source(workdir)['sha256'][:12]}… and have {source.sha256[:12]}…; use another --workdir"
        )


def note_source(workdir: Path, source: Source) -> None:
    """Write down what the run in ``workdir`` starts from; errors as of `check_source`."""
    check_source(workdir, source)
    facts = {"sha256": source.sha256, "train_seconds": source.train_seconds}
    with replacing(workdir / SOURCE) as file:
        file.write(json.dumps(facts).encode())


def noted_source(workdir: Path) -> dict[str, Any]:
    """What `note_source` wrote.

    Raises:
      UserError: there is none.
    """
    try:
        return json.loads((workdir / SOURCE).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{workdir / SOURCE} is not readable: {error}") from None
