"""Pictures: samples side by side, contact sheets, and quality against sequential calls.

Pixels are shown as they are (nearest neighbour); figures are drawn without a display.
"""

import math
import os
import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from PIL import Image

from drf_jax.errors import UserError
from drf_jax.evaluation.report import family

INK, FAINT = "#222222", "#777777"
# Okabe and Ito's colours, which the colour-blind can tell apart, with a marker each.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")


def image_grid(
    path: str | os.PathLike, images: UInt8[np.ndarray, "n h w c"], columns: int | None = None
) -> None:
    """Write a contact sheet, row by row; small images are enlarged by a whole factor.

    Args:
      path: of the picture; its folder is made.
      images: one or three channels, at least one image.
      columns: images in a row; None: as square as possible.
    """
    n, height = images.shape[:2]
    columns = columns or math.ceil(math.sqrt(n))
    factor = max(1, 48 // height)
    blank = np.full((-n % columns, *images.shape[1:]), 255, np.uint8)
    cells = _enlarge(_colour(np.concatenate([images, blank])), factor, gap=4)
    lines = [np.concatenate(list(line), 1) for line in np.split(cells, len(cells) // columns)]
    _folder(path)
    Image.fromarray(
        np.pad(np.concatenate(lines), [(4, 0), (4, 0), (0, 0)], constant_values=255)
    ).save(path)


def sample_figure(
    path: str | os.PathLike,
    columns: Mapping[str, UInt8[np.ndarray, "n h w c"]],
    rows: int = 8,
    subtitles: Mapping[str, str] | None = None,
) -> None:
    """Write samples of several methods side by side: methods across, the same noises down.

    Args:
      path: of the picture (png, pdf or svg); its folder is made.
      columns: method -> its images; image i of every method must come from the same noise i.
      rows: at most this many images are shown of each.
      subtitles: method -> a line under its name, such as "8 calls, FD 1.70".

    Raises:
      UserError: there is no method, or the methods' images differ in number or shape.
    """
    shapes = {images.shape for images in columns.values()}
    if len(shapes) != 1:
        raise UserError(
            f"sample figure: all methods need images of one shape, got {sorted(shapes)}"
        )
    subtitles = subtitles or {}
    n, height, width, _ = shapes.pop()
    rows = min(rows, n)
    names = {method: textwrap.wrap(method, 15) for method in columns}
    notes = {method: textwrap.wrap(subtitles.get(method, ""), 18) for method in columns}
    name_lines, note_lines = (max(map(len, texts.values())) for texts in (names, notes))

    # All lengths in inches.
    cell, gap, side, leading, foot = 0.85, 0.22, 0.15, 0.15, 0.3
    head = leading * (name_lines + note_lines) + 0.15
    wide = 2 * side + len(columns) * cell + (len(columns) - 1) * gap
    column_height = rows * cell * height / width
    tall = head + column_height + foot
    figure = Figure((wide, tall))
    for i, (method, images) in enumerate(columns.items()):
        left = side + i * (cell + gap)
        bounds = (left / wide, foot / tall, cell / wide, column_height / tall)
        axes = figure.add_axes(bounds)
        axes.set_axis_off()
        factor = max(1, 160 // height)
        edge = max(1, factor * height // 20)
        stack = np.concatenate(list(_enlarge(_colour(images[:rows]), factor, edge)))
        stack = stack[:-edge, :-edge]
        axes.imshow(stack, interpolation="nearest", aspect="auto")
        middle = (left + cell / 2) / wide
        base = (foot + column_height + 0.09) / tall
        for lines, size, style in (
            (notes[method], 7.5, {"color": FAINT}),
            (names[method], 8.5, {"color": INK, "weight": "bold"}),
        ):
            for row, words in enumerate(reversed(lines)):
                figure.text(
                    middle, base + row * leading / tall, words, size=size, ha="center", **style
                )
            base += leading * note_lines / tall
    caption = "each row: one noise"
    figure.text(side / wide, 0.08 / tall, caption, fontsize=7.5, color=FAINT, va="bottom")
    _save(figure, path)


def quality_figure(path: str | os.PathLike, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write FD against sequential calls, both logarithmic, one colour and marker a family.

    Every row with both numbers is a point; a line joins the best points of a family. The dashed line
    is DDIM at its greatest number of calls, where there is one.

    Raises:
      UserError: no row has both ``sequential_calls`` and a positive ``fd``.
    """
    families = defaultdict(list)
    for r in rows:
        if r.get("sequential_calls") and r.get("fd"):
            families[family(r["method"])].append((r["sequential_calls"], r["fd"]))
    if not families:
        raise UserError("quality figure: no row has both sequential_calls and a positive fd")
    figure = Figure((5.6, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for i, (name, points) in enumerate(families.items()):
        style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[(i + i // 7) % len(MARKERS)]}
        best = {calls: min(fd for c, fd in points if c == calls) for calls, _ in points}
        axes.plot(*zip(*sorted(best.items()), strict=True), color=style["color"], lw=1.4, alpha=0.7)
        axes.plot(
            *zip(*points, strict=True), ls="", ms=6.5, mec="white", mew=0.8, label=name, **style
        )
    if "ddim" in families:
        calls, fd = max(families["ddim"])
        dashed = {"color": FAINT, "lw": 0.9, "ls": (0, (4, 3)), "zorder": 0}
        axes.axhline(fd, label=f"ddim, {calls} calls", **dashed)
    _decorate(axes, sorted({calls for points in families.values() for calls, _ in points}))
    axes.legend(loc="upper right", frameon=False, fontsize=9, labelcolor=INK)
    _save(figure, path)


def _decorate(axes: Axes, calls: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    # A tick at every number of calls, thinned where two would touch.
    ticks = [calls[0]]
    for c in calls[1:]:
        if c / ticks[-1] > 1.13:
            ticks.append(c)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(
        LogLocator(subs=(1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 5, 7))
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("sequential network calls", color=INK)
    axes.set_ylabel("Fréchet distance to the data", color=INK)
    axes.grid(axis="y", color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)


def _colour(images: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h w 3"]:
    return np.broadcast_to(images, (*images.shape[:3], 3))


def _enlarge(
    images: UInt8[np.ndarray, "n h w 3"], factor: int, gap: int
) -> UInt8[np.ndarray, "n h2 w2 3"]:
    """Repeat every pixel ``factor`` times each way and add a white edge below and to the right."""
    large = images.repeat(factor, 1).repeat(factor, 2)
    return np.pad(large, [(0, 0), (0, gap), (0, gap), (0, 0)], constant_values=255)


def _folder(path: str | os.PathLike) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)


def _save(figure: Figure, path: str | os.PathLike) -> None:
    _folder(path)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=200, facecolor="white")
