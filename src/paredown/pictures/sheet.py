"""An empty sheet of panels, drawn by Matplotlib, and how it is saved."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paredown.host.files import write_atomically
from paredown.pictures.scale import Range, ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

DPI = 110  # dots per inch


def sheet(
    title: str, panels: int, width: float, height: float, columns: int = 0, head: float = 0.5
) -> "tuple[Figure, list[Axes]]":
    """Return a figure with a grid of panels of a width and height in inches, and the panels.

    A row has `columns` panels, or all where that is 0; `head` inches are above and below them.
    """
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its cache of fonts
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = columns or panels
    rows = max(1, math.ceil(panels / columns))
    figure = Figure(figsize=(width * columns, height * rows + head), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    all_axes = [figure.add_subplot(rows, columns, index + 1) for index in range(panels)]
    for axes in all_axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e4e6ea", linewidth=0.7)
        axes.set_axisbelow(True)
    return figure, all_axes


def logarithmic(axis: "Axis", ends: Range) -> None:
    """Put round values along a logarithmic axis, in plain notation."""
    from matplotlib import ticker

    axis.set_major_locator(ticker.FixedLocator(ticks(ends)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(ticker.NullLocator())


def bars(rows: Sequence[Mapping[str, Any]], name: str, factor: float = 1) -> list[list[float]]:
    """Return the lengths of a metric's intervals below and above it; 0 where it has none."""
    return [
        [factor * abs(row.get(f"{name}{end}", row[name]) - row[name]) for row in rows]
        for end in ("_low", "_high")
    ]


def save(figure: "Figure", file: Path) -> None:
    """Write a PNG; the same data give the same bytes."""

    def write(partial: Path) -> None:
        figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})

    write_atomically(file, write)
