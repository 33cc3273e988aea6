"""Multistep sampling: serial steps in log-SNR time that reuse the predictions already made.

With data predictions m_i = x0(x̄_i, τ_i), half log-SNR ℓ = log(α/σ) and h = ℓ_{i+1} − ℓ_i, the probability-flow ODE is

    x_{i+1} = (σ_{i+1}/σ_i) x_i + σ_{i+1} ∫ e^ℓ x0(x_ℓ, ℓ) dℓ      over ℓ from ℓ_i to ℓ_{i+1}          (1)

exactly; a multistep method puts a polynomial through the last predictions under the integral. All of them are

    predict    x̄_{i+1} = (σ_{i+1}/σ_i) x_i + Σ_j P_ij m_{i−j}                                          (2)
    evaluate   m_{i+1} = x0(x̄_{i+1}, τ_{i+1})                        the step's one network call
    correct    x_{i+1} = (σ_{i+1}/σ_i) x_i + Σ_j C_ij m_{i+1−j}       where C_i0 weighs the new one       (3)

A method is its table of weights (P, C), made on the host in float64 from the grid: `dpmpp`, `unipc`. One without a
corrector has (3) equal to (2). n steps cost n sequential calls: the first prediction, and one for every step but the
last, which only predicts. That one is of first order (DDIM), so the grid may end at σ = 0, where ℓ = ∞.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from drf_jax.denoiser import DenoiserLike
from drf_jax.process.prediction import expand
from drf_jax.process.schedule import Process
from drf_jax.sampling.grid import Grid
from drf_jax.sampling.loops import COMPILED, Loop
from drf_jax.typing import Cond, State

Window = Float[Array, "h b *state"]


class Weights(NamedTuple):
    """Equations (2) and (3) for the n steps of a grid; weights of missing predictions are 0."""

    scale: Float[np.ndarray, "n"]
    """σ_{i+1} / σ_i."""
    predict: Float[np.ndarray, "n h"]
    """P: newest prediction first."""
    correct: Float[np.ndarray, "n h_and_new"]
    """C: the new prediction first; the last row is not used."""


@runtime_checkable
class Solver(Protocol):
    def __call__(self, process: Process, grid: Grid) -> Weights: ...


class Levels(NamedTuple):
    """What weights are made of, for the nodes of a grid."""

    scale: Float[np.ndarray, "n"]
    """σ_{i+1} / σ_i."""
    gain: Float[np.ndarray, "n"]
    """α_{i+1} (1 − e^{−h}) = α_{i+1} − (σ_{i+1}/σ_i) α_i: the weights of a step sum to it."""
    half_log_snr: Float[np.ndarray, "nodes"]
    """ℓ; −∞ where α = 0 and ∞ where σ = 0."""


def levels(process: Process, grid: Grid) -> Levels:
    alpha, sigma = process.alpha(grid), process.sigma(grid)
    scale = sigma[1:] / sigma[:-1]
    with np.errstate(divide="ignore"):
        return Levels(scale, alpha[1:] - scale * alpha[:-1], np.log(alpha) - np.log(sigma))


@jax.jit
def evaluate(denoiser: DenoiserLike, x: State, t: Float[Array, ""], cond: Cond) -> State:
    """x0 predicted from x at time t."""
    return denoiser(x, jnp.full(x.shape[:1], t, x.dtype), cond).x0


@jax.jit
def move(x: State, window: Window, scale: Float[Array, ""], weights: Float[Array, "h"]) -> State:
    """Equation (2) or (3)."""
    return scale * x + jnp.sum(expand(weights, window) * window, axis=0)


@jax.jit
def advance(
    denoiser: DenoiserLike,
    x: State,
    window: Window,
    s: Float[Array, ""],
    scale: Float[Array, ""],
    predicting: Float[Array, "h"],
    correcting: Float[Array, "h_and_new"],
    cond: Cond,
) -> tuple[tuple[State, Window], State]:
    """One step to time s, which is not the last: the new (x, window), and the predicted state x̄."""
    predicted = move(x, window, scale, predicting)
    window = jnp.concatenate([evaluate(denoiser, predicted, s, cond)[None], window])
    return (move(x, window, scale, correcting), window[:-1]), predicted


def solve(
    solver: Solver,
    denoiser: DenoiserLike,
    process: Process,
    grid: Grid,
    x: State,
    cond: Cond,
    loop: Loop,
) -> tuple[State, list[Float[Array, "m b *state"]]]:
    """The last state, and the predicted states between the first and the last."""
    rows = jax.tree.map(lambda a: np.asarray(a, x.dtype), solver(process, grid))
    times = np.asarray(grid, x.dtype)
    newest = evaluate(denoiser, x, times[0], cond)[None]
    window = jnp.pad(newest, [(0, rows.predict.shape[1] - 1)] + [(0, 0)] * x.ndim)

    def body(carry, at):
        return advance(denoiser, *carry, *at, cond)

    between = []
    if len(grid) > 2:
        at = (times[1:-1], *(a[:-1] for a in rows))
        (x, window), states = loop.scan(body, (x, window), at)
        between = [states]
    return move(x, window, rows.scale[-1], rows.predict[-1]), between


def trajectory(
    solver: Solver,
    denoiser: DenoiserLike,
    process: Process,
    grid: Grid,
    x: State,
    cond: Cond = None,
    loop: Loop = COMPILED,
) -> Float[Array, "nodes b *state"]:
    """The predicted states x̄ on all nodes of the grid, the start included: those the network sees, and the sample."""
    last, between = solve(solver, denoiser, process, grid, x, cond, loop)
    return jnp.concatenate([x[None], *between, last[None]])


def sample(
    solver: Solver,
    denoiser: DenoiserLike,
    process: Process,
    grid: Grid,
    x: State,
    cond: Cond = None,
    loop: Loop = COMPILED,
) -> State:
    """The state at the grid's end.

    Args:
      solver: the method, such as `dpmpp.DPMSolverPP` or `unipc.UniPC`.
      grid: τ_0 … τ_n on the host; only its first node may have α = 0 and only its last σ = 0.
      x: start ``[b, *state]`` at τ_0.
      cond: conditioning, passed to the denoiser untouched.
      loop: how to loop (`drf_jax.sampling.loops`).
    """
    return solve(solver, denoiser, process, grid, x, cond, loop)[0]


def evaluations(steps: int) -> int:
    """Network evaluations (all sequential) of ``steps`` steps."""
    return steps
