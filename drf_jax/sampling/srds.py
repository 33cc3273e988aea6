"""SRDS: parareal iterations of a coarse and a fine DDIM (Selvam et al. 2024, arXiv 2412.08292).

The grid's n steps are cut into B blocks of S = n/B. F walks a block in S steps, G jumps over it in one. From the coarse
states x_{i+1} = G(x_i), each iteration refines all block ends:

    y_i = F(x_i) for all blocks together                             S calls of B states                 (1)
    x'_{i+1} = y_i + G(x'_i) − G(x_i),   x'_0 = x_0                  B calls, one block after the other  (2)

After k iterations the first k block ends are the serial sampler's own: B iterations are exact. A sample stops once its
last state has changed by at most the tolerance (root mean square).

Costs of k iterations, per sample:

    sequential calls, as run here      B + k (S + B)
    sequential calls, pipelined        B + k (S − 1)
    network evaluations                B + k (n + B)

Pipelining starts F on a block end as soon as (2) has made it, next to the sweep that goes on: x_i of iteration k is
there after k S + (i − k) calls. It takes as many devices as blocks; the paper's counts are of that kind. It is a
schedule of the same evaluations with the same result, so it is counted here and not run.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from drf_jax.denoiser import DenoiserLike
from drf_jax.errors import UserError
from drf_jax.process.schedule import Process
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import COMPILED, Loop, while_any
from drf_jax.sampling.refine import ParallelRefiner
from drf_jax.sampling.result import Result
from drf_jax.sampling.serial import advance
from drf_jax.sampling.step import DDIM
from drf_jax.sampling.transition import skip
from drf_jax.typing import Cond, Drafts, State


class Blocks(NamedTuple):
    """The iterate: what the block ends are and what G made of them."""

    starts: Float[Array, "blocks b *state"]
    """x_0 … x_{B−1}."""
    coarse: Float[Array, "blocks b *state"]
    """G(x_0) … G(x_{B−1})."""
    last: State
    """x_B."""


class Progress(NamedTuple):
    blocks: Blocks
    change: Float[Array, "b"]
    """Root mean square change of x_B in the last iteration."""
    count: Int[Array, "b"]


Count = int | Int[Array, "b"]


def calls(blocks: int, steps: int, iterations: Count) -> Count:
    """Sequential calls as run, for blocks of ``steps`` fine steps."""
    return blocks + iterations * (steps + blocks)


def pipelined_calls(blocks: int, steps: int, iterations: Count) -> Count:
    """Sequential calls of a pipelined schedule."""
    return blocks + iterations * (steps - 1)


def network_evaluations(blocks: int, steps: int, iterations: Count) -> Count:
    return blocks + iterations * (steps + 1) * blocks


@functools.partial(jax.jit, static_argnames=("process",))
def fine_step(
    process: Process,
    denoiser: DenoiserLike,
    states: Drafts,
    t: Float[Array, "blocks"],
    s: Float[Array, "blocks"],
    cond: Cond,
) -> Drafts:
    """One DDIM step in every block, in one call."""
    times = lambda a: jnp.broadcast_to(a[:, None], states.shape[:2])
    return skip(process, ParallelRefiner(denoiser)(states, times(t), cond), times(s))


@functools.partial(jax.jit, static_argnames=("process",))
def sweep_step(
    process: Process,
    denoiser: DenoiserLike,
    x: State,
    fine: State,
    coarse: State,
    t: Float[Array, ""],
    s: Float[Array, ""],
    cond: Cond,
) -> tuple[State, State]:
    """Equation (2) for one block: the state at its end, and G at its start."""
    jumped = advance(DDIM(), process, denoiser, x, t, s, cond)
    return fine + jumped - coarse, jumped


def most(grid: Grid, blocks: int, iterations: int) -> tuple[int, int]:
    """(sequential calls as run, network evaluations) of a sample that makes all iterations.

    Raises:
      UserError: blocks that do not divide the grid, or iterations outside 1 … blocks.
    """
    n = len(grid) - 1
    if blocks < 1 or n % blocks:
        raise UserError(f"blocks = {blocks}: must divide the grid's {n} steps")
    if not 1 <= iterations <= blocks:
        raise UserError(f"iterations = {iterations}: choose 1 to blocks = {blocks}")
    shape = (blocks, n // blocks, iterations)
    return calls(*shape), network_evaluations(*shape)


def sample(
    denoiser: DenoiserLike,
    process: Process,
    grid: Grid,
    x: State,
    cond: Cond = None,
    blocks: int = 4,
    iterations: int = 1,
    tolerance: float | None = None,
    loop: Loop = COMPILED,
) -> Result:
    """DDIM's sample from x ``[b, *state]`` at the grid's start, refined from a coarse one.

    Args:
      grid: the fine sampler's τ_0 … τ_n on the host.
      cond: conditioning with a leading batch axis, passed on untouched.
      blocks: B; divides n. Near √n the cost of an iteration is least.
      iterations: k, or the most a sample may take when there is a tolerance.
      tolerance: a sample stops once an iteration changes it by at most this.
      loop: how to loop (`drf_jax.sampling.loops`).

    Raises:
      UserError: as `most`.
    """
    most(grid, blocks, iterations)
    n, b = len(grid) - 1, len(x)
    steps = n // blocks
    times = np.asarray(grid, x.dtype)
    ends = (times[:-1:steps], times[steps::steps])
    fine_times = (times[:-1].reshape(blocks, steps).T, times[1:].reshape(blocks, steps).T)
    limit = np.asarray(-1 if tolerance is None else tolerance, x.dtype)

    def walk_blocks(starts: Drafts) -> Drafts:
        body = lambda states, at: (fine_step(process, denoiser, states, *at, cond), None)
        return loop.scan(body, starts, fine_times)[0]

    def sweep(fine: Drafts, coarse: Drafts) -> Blocks:
        def body(x, at):
            end, jumped = sweep_step(process, denoiser, x, *at, cond)
            return end, (x, jumped)

        last, (starts, jumped) = loop.scan(body, x, (fine, coarse, *ends))
        return Blocks(starts, jumped, last)

    def active(progress: Progress) -> Bool[Array, "b"]:
        return (progress.change > limit) & (progress.count < iterations)

    def iterate(progress: Progress) -> Progress:
        before = progress.blocks
        after = sweep(walk_blocks(before.starts), before.coarse)
        return Progress(after, rms(after.last - before.last), progress.count + 1)

    zeros = jnp.zeros((blocks, *x.shape), x.dtype)
    start = Progress(sweep(zeros, zeros), jnp.full(b, jnp.inf, x.dtype), jnp.zeros(b, jnp.int32))
    end = while_any(loop, active, iterate, start, Progress(Blocks(1, 1, 0), 0, 0))
    k = end.count
    return Result(end.blocks.last, calls(blocks, steps, k), network_evaluations(blocks, steps, k))


@jax.jit
def rms(difference: State) -> Float[Array, "b"]:
    """Root mean square over each sample's state."""
    return jnp.sqrt(jnp.mean(difference**2, axis=tuple(range(1, difference.ndim))))
