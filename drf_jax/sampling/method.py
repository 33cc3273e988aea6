"""A method: one sampler ready to run, with what it costs and the name of its row.

A sampler here is ``(unit noise [b, *state], keys [b], cond) -> x``: it scales the noise to its process, walks its grid
and returns the final state. Methods of one comparison get the same noise.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from drf_jax.denoiser import DenoiserLike
from drf_jax.process.gaussian import prior
from drf_jax.process.schedule import Process
from drf_jax.sampling import driffusion, serial
from drf_jax.sampling.draft import Drafter
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import COMPILED, Loop
from drf_jax.sampling.refine import Refiner
from drf_jax.sampling.step import Step, evaluations
from drf_jax.typing import Cond, PRNGKeys, State


@dataclasses.dataclass(frozen=True)
class Method:
    """``sampler`` runs it, and is a pytree of its networks' parameters; the rest is what a table says of it.
    ``drafts`` is 0 for a serial sampler."""

    name: str
    sampler: Callable[[State, PRNGKeys, Cond], State]
    sequential_calls: int
    network_evaluations: int
    drafts: int = 0
    mode: str | None = None


def compile_for(loop: Loop, run: Callable[..., Any]) -> Callable[..., Any]:
    """One program for the compiled loop; as it is for the Python loop, which compiles its pieces."""
    return jax.jit(run) if loop is COMPILED else run


def serial_method(
    name: str, step: Step, denoiser: DenoiserLike, process: Process, grid: Grid, loop: Loop
) -> Method:
    def run(denoiser, noise, keys, cond):
        x = prior(process, noise, grid[0])
        return serial.sample(step, denoiser, process, grid, x, cond, keys, loop)

    calls = evaluations(step, len(grid) - 1)
    sampler = jax.tree_util.Partial(compile_for(loop, run), denoiser)
    return Method(name, sampler, calls, calls)


def driffusion_method(
    name: str,
    drafter: Drafter,
    refiner: Refiner,
    process: Process,
    grid: Grid,
    drafts: int,
    form: str,
    loop: Loop,
    mode: str,
    refinements: int = 1,
) -> Method:
    rounds = driffusion.make_rounds(grid, drafts, drafter.extra_steps)

    def run(slots, noise, keys, cond):
        x = prior(process, noise, grid[0])
        return driffusion.sample(
            *slots, process, rounds, x, cond, form=form, refinements=refinements, loop=loop
        ).x

    calls, evaluated = driffusion.cost(drafter, rounds, refinements)
    sampler = jax.tree_util.Partial(compile_for(loop, run), (drafter, refiner))
    return Method(name, sampler, calls, evaluated, drafts, mode)
