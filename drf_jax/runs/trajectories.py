"""A teacher's cached DDIM walks, which students of fixed depth are trained on."""

import dataclasses
import math
from pathlib import Path

import numpy as np
from jaxtyping import Float

from drf_jax import build
from drf_jax.data.conditioning import condition_of, null_of
from drf_jax.data.trajectories import Trajectories, make_trajectories
from drf_jax.distributed import in_turn
from drf_jax.errors import UserError
from drf_jax.objectives.guidance import KEY, GuidedByCond
from drf_jax.process.gaussian import prior
from drf_jax.runs.keys import TRAJECTORY, root_key
from drf_jax.runs.teacher import Teacher
from drf_jax.sampling import serial
from drf_jax.sampling.grid import make_grid
from drf_jax.sampling.method import compile_for
from drf_jax.sampling.step import DDIM

TRAJECTORIES = "trajectories.npy"
"""In the folder of a run."""


@dataclasses.dataclass(frozen=True)
class Walk:
    """``steps`` DDIM steps of a grid, cut into ``intervals``, at whose ends the states are kept.

    The intervals are as equal as can be with a ``spacing`` of 1; with a larger one they are shorter at the noise, with
    a smaller one at the image; the grid ``power`` does so to the teacher's own steps. With a range of guidance weights,
    each trajectory has a weight of its own, which is part of its conditioning.
    """

    grid: str
    steps: int
    intervals: int
    guidance: tuple[float, ...] = build.UNGUIDED
    spacing: float = 1.0

    @property
    def kept(self) -> tuple[int, ...]:
        """Numbers of the kept states: steps · (i / intervals)^spacing, rounded (halves up)."""
        n = self.intervals
        if self.spacing == 1:
            return tuple((2 * i * self.steps + n) // (2 * n) for i in range(n + 1))
        share = (np.arange(n + 1) / n) ** self.spacing
        return tuple(int(node) for node in np.floor(self.steps * share + 0.5))

    def check(self) -> None:
        """Raise if two kept states are the same, or the spacing is no spacing."""
        if self.spacing <= 0:
            raise UserError(f"config.method.spacing = {self.spacing:g}: must be positive")
        if len(set(self.kept)) <= self.intervals:
            raise UserError(
                f"config.method.spacing = {self.spacing:g}: {self.intervals} intervals of the teacher's {self.steps}"
                f" steps would end at {', '.join(map(str, self.kept[1:]))}; no two may be the same"
            )


def guidance_weights(
    low: float, high: float, count: int, seed: int
) -> Float[np.ndarray, "{count}"]:
    """The weight of each trajectory, uniform in [low, high]; it does not depend on their number."""
    return np.random.default_rng((seed, TRAJECTORY)).uniform(low, high, count).astype(np.float32)


def teacher_trajectories(
    teacher: Teacher,
    walk: Walk,
    path: Path,
    seed: int,
    count: int,
    batch_size: int,
    dtype: str,
) -> Trajectories:
    """Walk from ``count`` noises and keep the states in ``path``, going on with what is there.

    Raises:
      UserError: ``path`` holds trajectories of something else.
    """
    process, data = teacher.denoiser.process, teacher.data
    grid = make_grid(walk.grid, process, walk.steps)
    loop = build.loop(teacher.config)
    guided = walk.guidance != build.UNGUIDED
    weights = guidance_weights(*walk.guidance, count, seed)

    def cond(index):
        found = condition_of(data, index)
        return {**found, KEY: weights[index % count]} if guided else found

    def states(denoiser, noise, cond):
        x = prior(process, noise, grid[0])
        every = math.gcd(*walk.kept)
        made = serial.trajectory(DDIM(), denoiser, process, grid, x, cond, loop=loop, every=every)
        return made[np.array(walk.kept) // every]

    denoiser = teacher.denoiser
    if guided:
        denoiser = GuidedByCond(denoiser, null_of(data))
    run = compile_for(loop, states)
    made_of = {"teacher": teacher.sha256, "grid": walk.grid, "steps": walk.steps, "seed": seed}
    made_of |= {"spacing": walk.spacing} if walk.spacing != 1 else {}
    with in_turn():
        make_trajectories(
            path,
            lambda noise, cond: run(denoiser, noise, cond),
            root_key(seed, TRAJECTORY),
            count,
            (walk.intervals + 1, *data.image_shape),
            cond,
            made_of | ({KEY: list(walk.guidance)} if guided else {}),
            batch_size,
            dtype,
        )

    return Trajectories(path, cond)
