"""Multistep sampling with a consistency function f(x, t, cond) -> the state at t_min, in one call.

Starting from x at the first time, and then for each next time t (Song et al. 2023, arXiv 2303.01469, Alg. 1):

    x0 = f(x, t_first)
    x_t = (α_t/α_m) x0 + √(σ_t² − (α_t σ_m/α_m)²) z,      m = t_min                                    (1)
    x0 = f(x_t, t)                                                                                     (2)

(1) is the forward process from t_min to t. For EDM's process with t_min = σ_min it is x0 + √(t² − σ_min²) z. With
t_min = 0 it is α_t x0 + σ_t z: the sampler of latent consistency models (Luo et al. 2023, arXiv 2310.04378, Alg. 3).
n times cost n sequential calls.
"""

import functools
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from drf_jax.errors import UserError
from drf_jax.process.prediction import expand
from drf_jax.process.schedule import Process
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import COMPILED, Loop
from drf_jax.sampling.serial import step_noise
from drf_jax.typing import Cond, PRNGKeys, State, Time


@runtime_checkable
class ConsistencyLike(Protocol):
    """Maps a state of any time to the state at t_min on the same trajectory. Must be a pytree."""

    def __call__(self, x: State, t: Time, cond: Cond = None) -> State: ...


def every(nodes: Grid, steps: int) -> Float[np.ndarray, "steps"]:
    """``steps`` of the N times on which a consistency function was trained: numbers ⌊i N / steps⌋.

    Raises:
      UserError: more steps than times, or none.
    """
    if not 1 <= steps <= len(nodes):
        raise UserError(
            f"steps = {steps}: choose 1 to {len(nodes)}, the times of the training grid"
        )
    return nodes[np.arange(steps) * len(nodes) // steps]


def renoise(process: Process, x0: State, t: Time, noise: State, t_min: float = 0.0) -> State:
    """Equation (1): the forward process from a state at t_min to time t."""
    ratio = process.alpha(t) / process.alpha(t_min)
    variance = process.sigma(t) ** 2 - (ratio * process.sigma(t_min)) ** 2
    scale = jnp.sqrt(jnp.maximum(variance, 0))
    return expand(ratio, x0) * x0 + expand(scale, x0) * noise


@jax.jit
def call(f: ConsistencyLike, x: State, t: Float[Array, ""], cond: Cond) -> State:
    """f for the whole batch at one time."""
    return f(x, jnp.full(x.shape[:1], t, x.dtype), cond)


@functools.partial(jax.jit, static_argnames=("process", "t_min"))
def advance(
    process: Process,
    f: ConsistencyLike,
    x0: State,
    t: Float[Array, ""],
    noise: State,
    t_min: float,
    cond: Cond = None,
) -> State:
    """Equations (1) and (2)."""
    full = jnp.full(x0.shape[:1], t, x0.dtype)
    return call(f, renoise(process, x0, full, noise, t_min), t, cond)


def sample(
    f: ConsistencyLike,
    process: Process,
    times: Grid,
    x: State,
    cond: Cond = None,
    keys: PRNGKeys | None = None,
    t_min: float = 0.0,
    loop: Loop = COMPILED,
) -> State:
    """The last x0.

    Args:
      f: consistency function, a pytree.
      times: where f is called, falling, on the host; the grid's end is not among them.
      x: start ``[b, *state]`` at the first time.
      cond: conditioning, passed to f untouched.
      keys: one key per sample; needed for more than one time.
      t_min: the time of f's results.
      loop: how to loop (`drf_jax.sampling.loops`).

    Raises:
      UserError: several times and no keys.
    """
    if len(times) > 1 and keys is None:
        raise UserError(f"{len(times)} consistency steps draw noise: give one key per sample")

    def body(x0, at):
        t, i = at
        return advance(process, f, x0, t, step_noise(keys, i, x0), t_min, cond), None

    nodes = np.asarray(times, x.dtype)
    x0 = call(f, x, nodes[0], cond)
    if len(times) > 1:
        x0, _ = loop.scan(body, x0, (nodes[1:], jnp.arange(len(nodes) - 1)))
    return x0
