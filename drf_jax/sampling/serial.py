"""Serial sampling: walk a grid with one step after the other (DDIM, DDPM, Euler, Heun).

x_{τ_0} → x_{τ_1} → … → x_{τ_n}                 n steps, each waits for the one before
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from drf_jax.denoiser import DenoiserLike
from drf_jax.errors import UserError
from drf_jax.process.schedule import Process
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import COMPILED, Loop
from drf_jax.sampling.step import Step
from drf_jax.typing import Cond, PRNGKeys, State


@functools.partial(jax.jit, static_argnames=("step", "process"))
def advance(
    step: Step,
    process: Process,
    denoiser: DenoiserLike,
    x: State,
    t: Float[Array, ""],
    s: Float[Array, ""],
    cond: Cond = None,
    noise: State | None = None,
) -> State:
    """One step of the whole batch from time t to time s."""
    full = functools.partial(jnp.full, x.shape[:1], dtype=x.dtype)
    return step(denoiser, process, x, full(t), full(s), cond, noise)


def step_noise(keys: PRNGKeys, i: Array, like: State) -> State:
    """Standard normal noise of step i, one key per sample: independent of the batch a sample is in."""
    draw = lambda key: jax.random.normal(jax.random.fold_in(key, i), like.shape[1:], like.dtype)
    return jax.vmap(draw)(keys)


def walk(
    step: Step,
    denoiser: DenoiserLike,
    process: Process,
    grid: Grid,
    x: State,
    cond: Cond,
    keys: PRNGKeys | None,
) -> tuple[Callable, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """``body(x, at) -> (x, None)`` for `Loop.scan`, and ``at`` of all steps: from, to, index."""
    if step.stochastic and keys is None:
        raise UserError(f"{step} draws noise: give one key per sample")

    def body(x, at):
        t, s, i = at
        noise = step_noise(keys, i, x) if step.stochastic else None
        return advance(step, process, denoiser, x, t, s, cond, noise), None

    times = np.asarray(grid, x.dtype)
    return body, (times[:-1], times[1:], np.arange(len(grid) - 1))


def trajectory(
    step: Step,
    denoiser: DenoiserLike,
    process: Process,
    grid: Grid,
    x: State,
    cond: Cond = None,
    keys: PRNGKeys | None = None,
    loop: Loop = COMPILED,
    every: int = 1,
) -> Float[Array, "kept b *state"]:
    """All states on every ``every``-th node of the grid, the start included.

    Args:
      step: the update.
      grid: τ_0 … τ_n on the host.
      x: start ``[b, *state]`` at τ_0.
      cond: conditioning, passed to the denoiser untouched.
      keys: one key per sample; stochastic steps need them.
      loop: how to loop (`drf_jax.sampling.loops`).
      every: keep one state in ``every``; must divide the number of steps.
    """
    n = len(grid) - 1
    if n % every:
        raise UserError(f"every = {every} does not divide the grid's {n} steps")
    body, at = walk(step, denoiser, process, grid, x, cond, keys)

    def segment(x, at):
        x, _ = loop.scan(body, x, at)
        return x, x

    start = x
    if step.final == step:
        x, states = loop.scan(segment, x, jax.tree.map(lambda a: a.reshape(-1, every), at))
        return jnp.concatenate([start[None], states])
    # The last interval has a step of its own.
    states = [start]
    for begin in range(0, n, every):
        stop = min(begin + every, n - 1)
        if stop > begin:
            x, _ = loop.scan(body, x, jax.tree.map(lambda a: a[begin:stop], at))  # noqa: B023
        if begin + every == n:
            x = last_step(step, process, denoiser, x, at, cond)
        states.append(x)
    return jnp.stack(states)


def last_step(step, process, denoiser, x, at, cond):
    """The last interval, by the step that is meant for it."""
    return advance(step.final, process, denoiser, x, at[0][-1], at[1][-1], cond)


def sample(
    step: Step,
    denoiser: DenoiserLike,
    process: Process,
    grid: Grid,
    x: State,
    cond: Cond = None,
    keys: PRNGKeys | None = None,
    loop: Loop = COMPILED,
) -> State:
    """The last state of `trajectory`."""
    body, at = walk(step, denoiser, process, grid, x, cond, keys)
    if step.final == step:
        return loop.scan(body, x, at)[0]
    if len(grid) > 2:
        x, _ = loop.scan(body, x, jax.tree.map(lambda a: a[:-1], at))
    return last_step(step, process, denoiser, x, at, cond)
