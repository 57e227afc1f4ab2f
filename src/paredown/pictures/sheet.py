"""An empty sheet for a study's picture, in the manner of the house, and how it is saved."""

from pathlib import Path
from typing import TYPE_CHECKING

from paredown.pictures.scale import Range, ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

DPI = 110  # dots an inch


def sheet(title: str, panels: int, width: float, height: float) -> "tuple[Figure, list[Axes]]":
    """Make a figure with panels side by side.

    Args:
        title: Above all of them; says what was found.
        panels: How many.
        width: Of a panel, in inches.
        height: Of a panel, in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * panels, height + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    axes = [figure.add_subplot(1, panels, at + 1) for at in range(panels)]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(color="#e4e6ea", linewidth=0.7)
        each.set_axisbelow(True)
    return figure, axes


def logarithmic(axis: "Axis", ends: Range) -> None:
    """Put round values along a logarithmic axis, written as people write them."""
    from matplotlib import ticker

    axis.set_major_locator(ticker.FixedLocator(ticks(ends)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda at, _: f"{at:g}"))
    axis.set_minor_locator(ticker.NullLocator())


def save(figure: "Figure", file: Path) -> None:
    """Write a PNG; the same data give the same bytes."""
    partial = file.with_name(f".{file.name}")
    figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})
    partial.rename(file)
