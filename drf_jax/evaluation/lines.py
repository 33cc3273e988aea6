"""Line charts: a quantity against another for several families, panels side by side.

A family has the same colour and marker in every panel that it appears in.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import offset_copy

from drf_jax.errors import UserError
from drf_jax.evaluation.figure import COLOURS, FAINT, INK, MARKERS

Points = Sequence[tuple[int | float, int | float]]

PALETTE = (*COLOURS, "#882255", "#8C7B2B", "#8C564B", "#44AA99")
DASHES = ((0, (4, 3)), (0, (1, 2)), (0, (6, 2, 1, 2)))
LEGEND = {"frameon": False, "fontsize": 8, "labelcolor": INK}


@dataclasses.dataclass(frozen=True)
class Panel:
    """One chart; the x axis is logarithmic, the y axis has the scale ``y_scale`` (log or linear)."""

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Points]
    """Family -> its (x, y); joined in order of x."""
    guides: Mapping[str, Points] = dataclasses.field(default_factory=dict)
    """Broken grey lines without markers: bounds, ideals."""
    y_scale: str = "log"


def line_figure(
    path: str | os.PathLike,
    panels: Sequence[Panel],
    columns: int | None = None,
    one_legend: bool = False,
) -> None:
    """Write panels, row by row.

    Args:
      path: of the picture (png, pdf or svg); its folder is made.
      panels: at least one.
      columns: panels in a row; None: all.
      one_legend: below all panels, of what any of them shows, instead of one below each.

    Raises:
      UserError: a panel has no point, or one that its scale cannot show.
    """
    families = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    style = {
        name: {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)]}
        for i, name in enumerate(families)
    }
    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    figure = Figure((4.8 * columns, 4.8 * rows), layout="constrained")
    for i, panel in enumerate(panels):
        _check(panel)
        axes = figure.add_subplot(rows, columns, i + 1)
        for name, points in panel.lines.items():
            xs, ys = zip(*sorted(points), strict=True)
            axes.plot(xs, ys, lw=1.4, ms=6.5, mec="white", mew=0.8, label=name, **style[name])
        for dashes, (name, points) in zip(DASHES, panel.guides.items(), strict=False):
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, color=FAINT, lw=0.9, ls=dashes, zorder=0, label=name)
        _decorate(axes, panel)
        if not one_legend:
            _legend(figure, axes, 1 if len(panel.lines) + len(panel.guides) < 4 else 2)
    if one_legend:
        shown = {}
        for axes in figure.axes:
            for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
                shown.setdefault(name, handle)
        place = {"loc": "outside lower left", "ncols": 3 * columns}
        figure.legend(shown.values(), shown.keys(), **place, **LEGEND)
    FigureCanvasAgg(figure)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200, facecolor="white")


def _check(panel: Panel) -> None:
    points = [p for line in (*panel.lines.values(), *panel.guides.values()) for p in line]
    if not all(panel.lines.values()) or not points:
        raise UserError(f"figure panel {panel.title!r}: every line needs a point")
    for x, y in points:
        if x <= 0 or (panel.y_scale == "log" and y <= 0):
            raise UserError(f"figure panel {panel.title!r}: {(x, y)} has no logarithm")


def _decorate(axes: Axes, panel: Panel) -> None:
    axes.set_xscale("log")
    axes.set_yscale(panel.y_scale)
    # A tick at every x that is a whole number, thinned where two would touch; round ones if hardly any x is.
    xs = sorted({x for line in panel.lines.values() for x, _ in line if float(x).is_integer()})
    ticks = []
    for x in xs:
        if not ticks or x > 1.12 * ticks[-1]:
            ticks.append(x)
    sparse = LogLocator(subs=(1, 2, 5))
    axes.xaxis.set_major_locator(FixedLocator(ticks) if len(ticks) > 1 else sparse)
    if panel.y_scale == "log":
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 8 * low else "all"))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_title(panel.title, fontsize=10, color=INK, loc="left")
    axes.set_xlabel(panel.x_label, color=INK)
    axes.set_ylabel(panel.y_label, color=INK)
    axes.grid(axis="y", color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    """Below the label of the x axis, however high the axes are."""
    below = offset_copy(axes.transAxes, figure, -0.15, -0.5, "inches")
    place = {"loc": "upper left", "bbox_to_anchor": (0, 0), "bbox_transform": below}
    axes.legend(ncols=columns, **place, **LEGEND)
