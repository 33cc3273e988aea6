"""Draft–refine systems as the experiments compare them: two slots on a grid, and any number of refinements.

Without any refinement (m = 0) a round ends where its drafts lead. A draft is a jump from the anchor (x, t_0) along one
prediction (x0, ε), so the anchor and the last draft (d, t_K) tell what that prediction is,

    α_0 x0 + σ_0 ε = x,      α_K x0 + σ_K ε = d                                                        (1)

and the round ends in α_u x0 + σ_u ε at its last time u. A conservative drafter then is DDIM with one step a round.
"""

import dataclasses
from itertools import product
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from drf_jax import build
from drf_jax.denoiser import DenoiserLike
from drf_jax.errors import UserError
from drf_jax.objectives.guidance import KEY
from drf_jax.process.prediction import Prediction, expand
from drf_jax.process.schedule import Process
from drf_jax.runs.distil import load_distilled, load_stages
from drf_jax.runs.distillation.draft_refine import DraftRefineStage
from drf_jax.runs.teacher import Teacher
from drf_jax.sampling import driffusion
from drf_jax.sampling.draft import Drafter
from drf_jax.sampling.grid import Grid, make_grid
from drf_jax.sampling.loops import COMPILED, Loop
from drf_jax.sampling.refine import ParallelRefiner, Refiner
from drf_jax.sampling.transition import FORMS, skip
from drf_jax.typing import Cond, State, Time
from drf_jax.workdir import read_config


@dataclasses.dataclass(frozen=True)
class System:
    """``grid`` is the system's own; its nodes are some of ``serial_grid``, on which the ``teacher`` walks."""

    name: str
    mode: str
    drafter: Drafter
    refiner: Refiner
    teacher: DenoiserLike
    process: Process
    grid: Grid
    serial_grid: Grid
    drafts: int
    form: str
    depends_on: tuple[Any, ...] = ()
    """Besides the teacher and what is above, as JSON values."""
    guided: bool = False
    """Whether the slots' networks are to be told the guidance weight, which is 1 here."""

    @property
    def rounds(self) -> driffusion.Rounds:
        return driffusion.make_rounds(self.grid, self.drafts, self.drafter.extra_steps)

    @property
    def serial_times(self) -> Float[np.ndarray, "rounds nodes"]:
        """The serial sampler's times in each round; one with fewer steps than others repeats its end."""
        nearest = lambda t: int(np.abs(self.serial_grid - t).argmin())
        bounds = [(nearest(t[0]), nearest(t[-1])) for t in self.rounds.times]
        most = max(end - start for start, end in bounds)
        index = [np.minimum(start + np.arange(most + 1), end) for start, end in bounds]
        return self.serial_grid[np.stack(index)]

    def told(self, cond: Cond, b: int) -> Cond:
        """The conditioning of ``b`` samples as the slots' networks take it."""
        return {**(cond or {}), KEY: jnp.ones(b)} if self.guided else cond

    def cost(self, refinements: int) -> tuple[int, int]:
        """(sequential calls, network evaluations) of a sample without tolerance."""
        return driffusion.cost(self.drafter, self.rounds, refinements)


PAPER = ("conservative", "aggressive")
"""DRiffusion's modes."""


def training_free(teacher: Teacher, grid: Grid, drafts: int) -> list[System]:
    """Both of the paper's modes in both forms, on the teacher's own grid."""
    denoiser, process = teacher.denoiser, teacher.denoiser.process
    return [
        System(
            f"driffusion-{mode}",
            mode,
            build.DRAFTERS[mode](denoiser, form),
            ParallelRefiner(denoiser),
            denoiser,
            process,
            grid,
            grid,
            drafts,
            form,
        )
        for mode, form in product(PAPER, FORMS)
    ]


def learned(teacher: Teacher, folder: str | Path) -> System:
    """A draft–refine student's, under its row's name.

    Raises:
      UserError: the folder holds no such run of this teacher.
    """
    folder = Path(folder)
    _, (stage, *_), (params, *_) = load_stages(read_config(folder), folder, teacher)
    if not isinstance(stage, DraftRefineStage):
        raise UserError(f"{folder}: config.method.name is not a draft–refine one")
    process = teacher.denoiser.process
    [trained] = load_distilled(folder, teacher)
    return System(
        trained.method.name,
        "learned",
        *stage.slots(params),
        teacher.denoiser,
        process,
        stage.times,
        make_grid(stage.spec.grid, process, stage.spec.teacher_steps),
        stage.spec.drafts,
        stage.spec.form,
        trained.depends_on,
        stage.pair.guided,
    )


def onward(process: Process, x: State, t: Time, d: State, s: Time, u: Time) -> State:
    """The state at time u of the jump that leads from x at t to d at s, equation (1)."""
    (a_t, s_t), (a_s, s_s) = (
        (expand(process.alpha(v), x), expand(process.sigma(v), x)) for v in (t, s)
    )
    determinant = a_t * s_s - a_s * s_t
    p = Prediction((s_s * x - s_t * d) / determinant, (a_t * d - a_s * x) / determinant)
    return skip(process, p, u)


def drafts_only(
    drafter: Drafter,
    process: Process,
    rounds: driffusion.Rounds,
    x: State,
    cond: Cond = None,
    loop: Loop = COMPILED,
) -> State:
    """Rounds without a refinement, m = 0."""
    k = rounds.drafts

    def body(carry, nodes):
        x, memory = carry
        times = jnp.broadcast_to(nodes[:, None], (len(nodes), len(x)))
        drafts, memory = driffusion.draft(process, drafter, memory, x, times[: k + 1], cond)
        end = onward(process, x, times[0], drafts[-1], times[k], times[-1])
        return (end, memory), ()

    times = np.asarray(rounds.times, x.dtype)
    start = (x, driffusion.start(drafter, x, times[0], cond))
    return loop.scan(body, start, times)[0][0]


def final_state(
    system: System,
    slots: tuple[Drafter, Refiner],
    x: State,
    cond: Cond,
    refinements: int,
    tolerance: float | None,
    loop: Loop,
) -> tuple[State, Float[Array, "b 2"]]:
    """Where m refinements a round lead, and each sample's (sequential calls, network evaluations)."""
    cond = system.told(cond, len(x))
    if refinements == 0:
        x = drafts_only(slots[0], system.process, system.rounds, x, cond, loop)
        return x, jnp.tile(jnp.array(system.cost(0), jnp.float32), (len(x), 1))
    options = (system.form, refinements, tolerance, loop)
    made = driffusion.sample(*slots, system.process, system.rounds, x, cond, *options)
    calls = jnp.stack([made.sequential_calls, made.network_evaluations], 1)
    return made.x, calls.astype(jnp.float32)
