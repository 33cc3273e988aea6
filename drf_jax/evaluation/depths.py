"""A picture of families at several depths: families down, sequential calls across, the same noises in each place."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from drf_jax.errors import UserError

Cells = Mapping[tuple[str, int], UInt8[np.ndarray, "n h w c"]]
"""(family, calls) -> its images; image i of every cell comes from noise i."""


def depth_figure(
    path: str | os.PathLike, cells: Cells, calls: Sequence[int], count: int = 4
) -> None:
    """Write the picture; where a family has no sampler of a depth, the place is empty.

    Args:
      path: of the picture (png, pdf or svg); its folder is made.
      cells: the images, all of one shape; families are shown in their order.
      calls: the depths, from left to right.
      count: images that are shown of each cell.

    Raises:
      UserError: there is no image.
    """
    if not cells:
        raise UserError("depth figure: no family has samples at any of these depths")
    families = list(dict.fromkeys(family for family, _ in cells))
    side, label, gap, head = 0.5, 1.9, 0.2, 0.35  # inches
    wide = label + len(calls) * (count * side + gap)
    tall = head + len(families) * (side + 0.06) + 0.3
    figure = Figure((wide, tall))
    text = {"fontsize": 8.5, "color": "#222222"}
    for row, family in enumerate(families):
        bottom = tall - head - (row + 1) * (side + 0.06)
        figure.text(0.1 / wide, (bottom + side / 2) / tall, family, va="center", **text)
        for column, n in enumerate(calls):
            if (family, n) not in cells:
                continue
            images = cells[family, n][:count]
            left = label + column * (count * side + gap)
            bounds = (left / wide, bottom / tall, len(images) * side / wide, side / tall)
            axes = figure.add_axes(bounds)
            axes.set_axis_off()
            strip = np.concatenate(list(np.broadcast_to(images, (*images.shape[:3], 3))), 1)
            axes.imshow(strip, interpolation="nearest", aspect="auto")
    for column, n in enumerate(calls):
        left = label + column * (count * side + gap)
        title = f"{n} call{'s' if n > 1 else ''}"
        figure.text(left / wide, 1 - 0.2 / tall, title, weight="bold", **text)
    figure.text(
        0.1 / wide, 0.08 / tall, "the same noises in every block", fontsize=7.5, color="#777777"
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=200, facecolor="white")
