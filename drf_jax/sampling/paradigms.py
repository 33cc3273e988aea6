"""ParaDiGMS: Picard iteration on a sliding window of DDIM's grid (Shih et al. 2023, arXiv 2305.16317, Alg. 1).

A sampler x_{i+1} = S(x_i) is a sum of increments, so its whole trajectory solves a fixed-point equation. From an
accepted state x_i, with guesses for the p nodes after it, one iteration evaluates all in **one** call:

    x_{i+j} ← x_i + Σ_{l<j} [ S(x_{i+l}) − x_{i+l} ],        j = 1 … p                                  (1)
    e_j = root mean square of the change of x_{i+j}
    stride = the first j < p with e_j > τ ς_j, or p if there is none                                     (2)

The window then moves on by the stride, its new nodes guessed as the last one. ς_j² is the posterior variance of the
step into node j (`step.posterior_variance`): the noise that ancestral sampling would add there. After k iterations
the first k states are the serial sampler's own, so the stride is at least 1, the grid's n steps take at most n calls,
and τ = 0 gives DDIM exactly. Each sample of a batch has its own window and tolerance.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from drf_jax.denoiser import DenoiserLike
from drf_jax.errors import UserError
from drf_jax.process.prediction import expand
from drf_jax.process.schedule import Process
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import COMPILED, Loop, while_any
from drf_jax.sampling.refine import ParallelRefiner
from drf_jax.sampling.result import Result
from drf_jax.sampling.step import posterior_variance
from drf_jax.sampling.transition import skip
from drf_jax.typing import Cond, State


class Window(NamedTuple):
    """Where each sample is."""

    states: Float[Array, "w b *state"]
    """The accepted state and the guesses after it; past the grid's end they repeat its last state."""
    node: Int[Array, "b"]
    """Number of the accepted state's node."""
    calls: Int[Array, "b"]
    evaluations: Int[Array, "b"]


@functools.partial(jax.jit, static_argnames=("process",))
def picard(
    process: Process,
    denoiser: DenoiserLike,
    states: Float[Array, "w b *state"],
    times: Float[Array, "w b"],
    last_interior: Float[Array, ""],
    cond: Cond,
) -> Float[Array, "w b *state"]:
    """Equation (1). Steps between equal times, past the grid's end, are still."""
    at = jnp.maximum(times[:-1], last_interior)
    stepped = skip(process, ParallelRefiner(denoiser)(states[:-1], at, cond), times[1:])
    still = expand(times[:-1] == times[1:], stepped)
    increments = jnp.where(still, 0, stepped - states[:-1])
    return jnp.concatenate([states[:1], states[0] + jnp.cumsum(increments, axis=0)])


def passes(
    new: Float[Array, "w b *state"],
    old: Float[Array, "w b *state"],
    limit: Float[Array, "w b"],
) -> Int[Array, "b"]:
    """Equation (2): the stride."""
    change = jnp.sqrt(jnp.mean((new - old) ** 2, axis=tuple(range(2, new.ndim))))
    small = (change <= limit)[1:-1]
    return 1 + jnp.sum(jnp.cumprod(small, axis=0), axis=0, dtype=jnp.int32)


def slide(
    states: Float[Array, "w b *state"], stride: Int[Array, "b"]
) -> Float[Array, "w b *state"]:
    """Forget the first ``stride`` states of each sample; the new ones repeat the last."""
    p = len(states) - 1
    index = jnp.minimum(jnp.arange(p + 1)[:, None] + stride, p)
    return jax.vmap(lambda sample, i: sample[i], (1, 1), 1)(states, index)


@functools.partial(jax.jit, static_argnames=("process",))
def iterate(
    process: Process,
    denoiser: DenoiserLike,
    window: Window,
    grid: Float[Array, "nodes"],
    limits: Float[Array, "nodes"],
    cond: Cond,
) -> Window:
    """One call for the whole batch."""
    n, p = len(grid) - 1, len(window.states) - 1
    nodes = jnp.minimum(window.node + jnp.arange(p + 1)[:, None], n)
    states = picard(process, denoiser, window.states, grid[nodes], grid[n - 1], cond)
    stride = passes(states, window.states, limits[nodes])
    return Window(
        slide(states, stride),
        jnp.minimum(window.node + stride, n),
        window.calls + 1,
        window.evaluations + jnp.minimum(n - window.node, p),
    )


def most(grid: Grid, window: int, tolerance: float) -> tuple[int, int]:
    """(sequential calls, network evaluations) that a sample takes at most.

    Raises:
      UserError: a window outside 1 … n, or a negative tolerance.
    """
    n = len(grid) - 1
    if not 1 <= window <= n:
        raise UserError(f"window = {window}: choose 1 to {n}, the grid's steps")
    if tolerance < 0:
        raise UserError(f"tolerance = {tolerance}: must be at least 0")
    return n, sum(min(window, n - i) for i in range(n))


def sample(
    denoiser: DenoiserLike,
    process: Process,
    grid: Grid,
    x: State,
    cond: Cond = None,
    window: int = 8,
    tolerance: float = 0.1,
    loop: Loop = COMPILED,
) -> Result:
    """DDIM's sample from x ``[b, *state]`` at the grid's start, in fewer sequential calls.

    Args:
      grid: the serial sampler's τ_0 … τ_n on the host.
      cond: conditioning with a leading batch axis, passed on untouched.
      window: p, the states evaluated in one call.
      tolerance: τ; 0 is exact.
      loop: how to loop (`drf_jax.sampling.loops`).

    Raises:
      UserError: as `most`.
    """
    most(grid, window, tolerance)
    n, b = len(grid) - 1, len(x)
    times = jnp.asarray(grid, x.dtype)
    variance = posterior_variance(process, times[:-1], times[1:])
    limits = tolerance * jnp.pad(jnp.sqrt(variance), (1, 0))
    zeros = jnp.zeros(b, jnp.int32)
    start = Window(jnp.broadcast_to(x, (window + 1, *x.shape)), zeros, zeros, zeros)
    body = lambda window: iterate(process, denoiser, window, times, limits, cond)
    end = while_any(loop, lambda window: window.node < n, body, start, Window(1, 0, 0, 0))
    return Result(end.states[0], end.calls, end.evaluations)
