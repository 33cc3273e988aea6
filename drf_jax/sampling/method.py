"""A method: one sampler ready to run, with what it costs and the name of its row.

A sampler here is ``(unit noise [b, *state], keys [b], cond) -> x``: it makes the noise its process's own and scales it,
walks its grid and returns the final state. Methods of one comparison get the same noise and keys.

What most samplers cost is known before they run. Where a tolerance decides, it differs from sample to sample:
``cost`` is then a function of the sampler's arguments that says what it was.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from drf_jax.denoiser import DenoiserLike
from drf_jax.process.gaussian import prior
from drf_jax.process.schedule import Process
from drf_jax.sampling import distilled, driffusion, multistep, paradigms, serial, srds
from drf_jax.sampling.draft import Drafter
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import COMPILED, Loop
from drf_jax.sampling.multistep import Solver
from drf_jax.sampling.refine import Refiner
from drf_jax.sampling.result import Result
from drf_jax.sampling.step import Step, evaluations
from drf_jax.typing import Cond, PRNGKeys, State

Run = Callable[[Any, State, PRNGKeys, Cond], Any]
"""``(networks, starting state, keys, cond) -> result``."""


@dataclasses.dataclass(frozen=True)
class Method:
    """``sampler`` runs it, and is a pytree of its networks' parameters; the rest is what a table says of it.

    ``drafts`` is the number of states in one parallel call, 0 for a serial sampler. Where there is a ``cost``,
    ``(noise, keys, cond) -> (sequential calls, network evaluations) [b, 2]``, the two numbers are the most it can be.
    """

    name: str
    sampler: Callable[[State, PRNGKeys, Cond], State]
    sequential_calls: int
    network_evaluations: int
    drafts: int = 0
    mode: str | None = None
    tolerance: float | None = None
    cost: Callable[[State, PRNGKeys, Cond], Float[Array, "b 2"]] | None = None


def compile_for(loop: Loop, run: Callable[..., Any]) -> Callable[..., Any]:
    """One program for the compiled loop; as it is for the Python loop, which compiles its pieces."""
    return jax.jit(run) if loop is COMPILED else run


def from_noise(run: Run, networks: Any, process: Process, grid: Grid, loop: Loop) -> Callable:
    """``(unit noise, keys, cond) -> result`` of a run that starts at the grid's first time."""

    def start(networks, noise, keys, cond):
        x = prior(process, process.noise(noise, keys), grid[0])
        return run(networks, x, keys, cond)

    return jax.tree_util.Partial(compile_for(loop, start), networks)


def counted(
    name: str,
    run: Run,
    networks: Any,
    process: Process,
    grid: Grid,
    loop: Loop,
    most: tuple[int, int],
    tolerance: float | None,
    **facts: Any,
) -> Method:
    """The method of a run that counts (``-> Result``); its cost is ``most`` unless there is a tolerance."""

    def part(read):
        return from_noise(lambda *args: read(run(*args)), networks, process, grid, loop)

    cost = None if tolerance is None else part(cost_of)
    return Method(name, part(lambda made: made.x), *most, tolerance=tolerance, cost=cost, **facts)


def cost_of(made: Result | driffusion.Result) -> Float[Array, "b 2"]:
    both = (made.sequential_calls, made.network_evaluations)
    return jnp.stack(both, axis=1).astype(jnp.float32)


def serial_method(
    name: str, step: Step, denoiser: DenoiserLike, process: Process, grid: Grid, loop: Loop
) -> Method:
    def run(denoiser, x, keys, cond):
        return serial.sample(step, denoiser, process, grid, x, cond, keys, loop)

    calls = evaluations(step, len(grid) - 1)
    return Method(name, from_noise(run, denoiser, process, grid, loop), calls, calls)


def multistep_method(
    name: str, solver: Solver, denoiser: DenoiserLike, process: Process, grid: Grid, loop: Loop
) -> Method:
    def run(denoiser, x, keys, cond):
        return multistep.sample(solver, denoiser, process, grid, x, cond, loop)

    calls = multistep.evaluations(len(grid) - 1)
    return Method(name, from_noise(run, denoiser, process, grid, loop), calls, calls)


def paradigms_method(
    name: str,
    denoiser: DenoiserLike,
    process: Process,
    grid: Grid,
    window: int,
    tolerance: float,
    loop: Loop,
) -> Method:
    def run(denoiser, x, keys, cond):
        return paradigms.sample(denoiser, process, grid, x, cond, window, tolerance, loop)

    most = paradigms.most(grid, window, tolerance)
    return counted(name, run, denoiser, process, grid, loop, most, tolerance, drafts=window)


def srds_method(
    name: str,
    denoiser: DenoiserLike,
    process: Process,
    grid: Grid,
    blocks: int,
    iterations: int,
    tolerance: float | None,
    loop: Loop,
) -> Method:
    def run(denoiser, x, keys, cond):
        options = (blocks, iterations, tolerance, loop)
        return srds.sample(denoiser, process, grid, x, cond, *options)

    most = srds.most(grid, blocks, iterations)
    return counted(name, run, denoiser, process, grid, loop, most, tolerance, drafts=blocks)


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
    tolerance: float | None = None,
) -> Method:
    rounds = driffusion.make_rounds(grid, drafts, drafter.extra_steps)

    def run(slots, x, keys, cond):
        options = (form, refinements, tolerance, loop)
        return driffusion.sample(*slots, process, rounds, x, cond, *options)

    most = driffusion.cost(drafter, rounds, refinements)
    slots, facts = (drafter, refiner), {"drafts": drafts, "mode": mode}
    return counted(name, run, slots, process, grid, loop, most, tolerance, **facts)


def hybrid_method(
    name: str,
    student: DenoiserLike,
    teacher: DenoiserLike,
    process: Process,
    grid: Grid,
    drafts: int,
    relaxation: float,
    ends: str,
    loop: Loop,
) -> Method:
    extra_steps = distilled.DistilledDrafter.extra_steps
    rounds = driffusion.make_rounds(grid, drafts, extra_steps)

    def run(networks, x, keys, cond):
        return distilled.sample(*networks, process, rounds, x, cond, relaxation, ends, loop)

    parallel = drafts if len(rounds.times) > 1 else 1  # the last round needs one draft only
    cost = distilled.cost(rounds, ends)
    networks, facts = (student, teacher), {"drafts": parallel, "mode": "hybrid"}
    return counted(name, run, networks, process, grid, loop, cost, None, **facts)
