"""Does the draft–refine error tell the true error?

A sampler with one refinement a round knows, at no cost, how far the refinement moved its drafts, in root mean square
over the state, as for the tolerance: e_r = max_j ‖r_j − d_j‖. The true error of the round is that of its end,

    δ_r = ‖ x_{r+1} − serial(x_r) ‖                                                                    (1)

with serial(x_r) the teacher's DDIM over the same times from the round's own anchor; Δ is the distance of the final
sample to the serial one from the same noise. Reported are Spearman's rank correlations over samples of e_r and δ_r,
of e_r and Δ, and of Σ_r e_r and Δ.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from scipy.stats import spearmanr
from systems import System

from drf_jax.denoiser import DenoiserLike
from drf_jax.drafts import merge_drafts, repeat_cond, split_drafts
from drf_jax.evaluation.figure import INK
from drf_jax.process.schedule import Process
from drf_jax.sampling import driffusion
from drf_jax.sampling.loops import Loop
from drf_jax.sampling.transition import reuse
from drf_jax.typing import Cond, State


@functools.partial(jax.jit, static_argnames="process")
def serial_step(
    process: Process,
    denoiser: DenoiserLike,
    x: Float[Array, "r b *state"],
    t: Float[Array, "r"],
    u: Float[Array, "r"],
    last_interior: float | Float[Array, ""],
    cond: Cond,
) -> Float[Array, "r b *state"]:
    """One DDIM step of all rounds together, each between times of its own; none where u = t."""
    at, to = (merge_drafts(jnp.broadcast_to(v[:, None], x.shape[:2])) for v in (t, u))
    merged = merge_drafts(x)
    p = denoiser(merged, jnp.maximum(at, last_interior), repeat_cond(cond, len(t)))
    return split_drafts(reuse(process, "data", merged, p, at, to), len(t))


def round_errors(
    system: System, slots: tuple, x: State, cond: Cond, loop: Loop
) -> Float[Array, "b both rounds"]:
    """e_r and δ_r of every round with one refinement, from the start ``x``."""
    told = system.told(cond, len(x))
    made = driffusion.sample(
        *slots, system.process, system.rounds, x, told, system.form, loop=loop, record=True
    )
    ends = made.trace.refined[:, -1]
    anchors = jnp.concatenate([x[None], ends[:-1]])
    times = np.asarray(system.serial_times, x.dtype).T

    def body(x, at):
        t, u = at
        interior = system.serial_grid[-2]
        return serial_step(system.process, system.teacher, x, t, u, interior, cond), ()

    true, _ = loop.scan(body, anchors, (times[:-1], times[1:]))
    delta = jnp.sqrt(jnp.mean((ends - true) ** 2, axis=tuple(range(2, ends.ndim))))
    return jnp.stack([made.trace.error.max(1), delta], 1).transpose(2, 1, 0)


def rank_correlation(
    a: Float[np.ndarray, "n"], b: Float[np.ndarray, "n"], smallest: float = 1e-5
) -> float | None:
    """Spearman's; None where one of the two is rounding noise."""
    if min(np.ptp(a), np.ptp(b)) < smallest:
        return None
    return round(float(spearmanr(a, b).statistic), 4)


def correlations(
    errors: Float[np.ndarray, "n both rounds"], final: Float[np.ndarray, "n"]
) -> dict[str, Any]:
    """The rank correlations, round by round and of the sum, as JSON values."""
    estimate, true = errors[:, 0], errors[:, 1]
    rounds = [
        {
            "round": r + 1,
            "estimate_p50": float(np.median(estimate[:, r])),
            "true_p50": float(np.median(true[:, r])),
            "spearman": rank_correlation(estimate[:, r], true[:, r]),
            "spearman_final": rank_correlation(estimate[:, r], final),
        }
        for r in range(errors.shape[2])
    ]
    total = rank_correlation(estimate.sum(1), final)
    return {"pairs": len(errors), "rounds": rounds, "spearman_sum": total}


def scatter_figure(path: Path, systems: Mapping[str, np.ndarray], shown: int = 300) -> None:
    """δ_r against e_r for the first samples of each system, a colour a round, with the line δ = e."""
    columns = min(3, len(systems))
    rows = -(-len(systems) // columns)
    figure = Figure((3.9 * columns, 3.7 * rows), layout="constrained")
    last = max(errors.shape[2] for errors in systems.values())
    for i, (name, errors) in enumerate(systems.items()):
        axes = figure.add_subplot(rows, columns, i + 1)
        estimate, true = errors[:shown, 0], errors[:shown, 1]
        visible = (estimate > 1e-6) & (true > 1e-6)
        number = np.broadcast_to(np.arange(1, errors.shape[2] + 1), estimate.shape)
        points = axes.scatter(
            *(estimate[visible], true[visible]),
            c=number[visible],
            **{"s": 5, "cmap": "viridis_r", "vmin": 1, "vmax": last, "linewidths": 0},
        )
        if visible.any():
            low, high = estimate[visible].min(), estimate[visible].max()
            axes.plot([low, high], [low, high], color="#999999", lw=0.9, ls=(0, (4, 3)))
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 3)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_title(name, fontsize=9, color=INK, loc="left")
        axes.tick_params(colors=INK, labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        if i % columns == 0:
            axes.set_ylabel("true error of the round, δ", color=INK, fontsize=9)
        if i >= len(systems) - columns:
            axes.set_xlabel("draft–refine error, e", color=INK, fontsize=9)
    bar = figure.colorbar(points, ax=figure.axes, shrink=0.6, label="round")
    bar.ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, facecolor="white")
