"""The samplers of a distilled run that a config wants rows of: its students', and hybrids.

In a hybrid the student drafts and its teacher, or another run in its place, refines (`drf_jax.sampling.distilled`);
nothing is trained for it.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from drf_jax import build
from drf_jax.config import plain, read
from drf_jax.errors import UserError
from drf_jax.process.schedule import Process
from drf_jax.runs.distillation.stage import Setting, Stage
from drf_jax.runs.source import Source
from drf_jax.sampling.distilled import STUDENT, TEACHER
from drf_jax.sampling.grid import Grid, make_grid
from drf_jax.sampling.method import Method, hybrid_method
from drf_jax.typing import Params

HYBRID = "config.evaluate.hybrid"


def rows(
    spec: build.EvaluateDistilled,
    setting: Setting,
    stages: Sequence[Stage],
    params: Sequence[Params],
) -> list[tuple[Method, int]]:
    """Each method with the number of its stage; ``params`` are those of the stages.

    Raises:
      UserError: no stage samples in so many calls, a hybrid is wrong, or the guidance weight is out of range.
    """
    made = []
    for calls in spec.calls or calls_of(stages):
        number = serving(stages, calls, "config.evaluate.calls")
        method = stages[number].method(params[number], calls, spec.guidance)
        made.append((named(method, spec.row, calls), number))
    return made + hybrids(spec, setting, stages, params)


def calls_of(stages: Sequence[Stage]) -> list[int]:
    """The numbers of calls that a student is for."""
    return [calls for stage in stages for calls in stage.calls]


def serving(stages: Sequence[Stage], calls: int, key: str) -> int:
    """The number of the stage whose student samples in so many calls, which a config's key asks for.

    Raises:
      UserError: there is none.
    """
    for number, stage in enumerate(stages):
        if stage.serves(calls):
            return number
    own = calls_of(stages)
    raise UserError(f"{key}: {calls} is not possible for this student; choose among {own}")


def named(method: Method, row: str, calls: int) -> Method:
    """The method under the name that the config gives its rows."""
    return dataclasses.replace(method, name=f"{row}-{calls}") if row else method


def hybrids(
    spec: build.EvaluateDistilled,
    setting: Setting,
    stages: Sequence[Stage],
    params: Sequence[Params],
) -> list[tuple[Method, int]]:
    """The hybrids that are asked for, as `rows`: as many rounds are drafted by the student of as many steps."""
    if not spec.hybrid:
        return []
    teacher, options = setting.teacher, read(build.Hybrid, spec.hybrid, HYBRID)
    refiner = build.guided(setting.refiner(options.refiner), spec.guidance, teacher.data)
    made = []
    asked = [("rounds", TEACHER, rounds) for rounds in options.rounds]
    asked += [("ended_by_student", STUDENT, rounds) for rounds in options.ended_by_student]
    for key, ends, rounds in asked:
        number = serving(stages, rounds, f"{HYBRID}.{key}")
        stage = stages[number]
        student = stage.denoiser(params[number], spec.guidance)
        grid = times_of(stage, rounds, options, teacher.denoiser.process)
        method = hybrid_method(
            f"{options.row}-{2 * rounds - (ends == STUDENT)}",
            student,
            refiner,
            teacher.denoiser.process,
            grid,
            options.drafts,
            options.relaxation,
            ends,
            setting.loop,
        )
        made.append((method, number))
    return made


def refiner_of(spec: build.EvaluateDistilled, setting: Setting) -> Source | None:
    """What refines in the teacher's place; None if the teacher does."""
    folder = read(build.Hybrid, spec.hybrid, HYBRID).refiner if spec.hybrid else ""
    return setting.load_refiner(folder) if folder else None


def hybrid_identity(spec: build.EvaluateDistilled, refiner: Source | None) -> dict:
    """What a hybrid's samples depend on besides its drafter, the teacher and the student's method."""
    asked = dataclasses.asdict(read(build.Hybrid, spec.hybrid, HYBRID))
    asked["refiner"] = refiner and refiner.sha256
    for later in ("ended_by_student", "refiner"):
        if not asked[later]:
            del asked[later]  # as hybrids were before there was that
    return plain(asked) | {"drafter": "distilled", "last_round": "one draft"}


def times_of(stage: Stage, rounds: int, options: build.Hybrid, process: Process) -> Grid:
    """Times of a hybrid's steps: the student's walk, unless another grid is asked for.

    Raises:
      UserError: the rounds do not end where the student's own steps do.
    """
    steps = options.drafts + 1
    grid = (
        make_grid(options.grid, process, rounds * steps)
        if options.grid
        else stage.cut(rounds * steps)
    )
    ends, nodes = grid[::steps], stage.nodes(rounds)
    if nodes is not None and not np.allclose(ends, nodes, atol=1e-6):
        raise UserError(
            f"{HYBRID}.grid = {options.grid!r}: {rounds} rounds end at t = {text(ends)}, and the"
            f" student's steps at {text(nodes)}; choose another, or hybrid.rounds = () for no hybrid"
        )
    return grid


def text(times: Grid) -> str:
    return ", ".join(f"{t:.4g}" for t in times)
