"""The static picture of a search, drawn with Matplotlib."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paredown.metric import MAXIMIZE, metric_of
from paredown.pictures import words
from paredown.pictures.panels import headline, scatters
from paredown.pictures.scatter import Scatter, SearchSummary
from paredown.pictures.sheet import logarithmic, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTER, RADIUS = 9, 4  # points of 1/72 inch
PANEL = (6.2, 4.4)  # inches
LOOKS: dict[str, dict[str, Any]] = {
    words.DOMINATED: {"marker": "o", "s": 22, "zorder": 2},
    words.MISSED: {"marker": "o", "s": 22, "facecolors": "none", "zorder": 2},
    words.FRONT: {"marker": "o", "s": 46, "zorder": 4},
    words.NEAREST: {"marker": "o", "s": 46, "zorder": 4},
    words.DEFAULT: {"marker": "s", "s": 110, "facecolors": "none", "linewidths": 1.6, "zorder": 3},
    words.BASELINE: {"marker": "*", "s": 150, "zorder": 3},
    words.UNTRAINED: {"marker": "|", "s": 60, "linewidths": 1.2, "zorder": 2},
    words.BELOW: {"marker": "v", "s": 50, "zorder": 2},
}


def front_picture(summary: SearchSummary, file: Path) -> None:
    """Draw the trials of a search as a PNG; the same data give the same bytes."""
    panels = scatters(summary)
    columns = min(2, max(1, len(panels)))
    title = textwrap.fill(headline(summary), 58 * columns)
    figure, all_axes = sheet(title, len(panels), *PANEL, columns, head=0.9)
    if not panels:
        figure.text(0.5, 0.5, "nothing to draw", ha="center", color=words.COLORS[words.DOMINATED])
    handles: dict[str, Any] = {}  # each kind of mark once
    for axes, panel in zip(all_axes, panels, strict=True):
        _draw(axes, panel)
        marks, names = axes.get_legend_handles_labels()
        handles |= dict(zip(names, marks, strict=True))
    if handles:
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False,
            fontsize=LETTER,
        )  # fmt: skip
    figure.draw_without_rendering()  # settles the layout, so that labels can be placed
    for axes, panel in zip(all_axes, panels, strict=True):
        _label(axes, panel)
    save(figure, file)


def _draw(axes: "Axes", panel: Scatter) -> None:
    for kind, rows in panel.points.items():
        x, y = panel.column(panel.x, rows), panel.column(panel.y, rows)
        color = {"edgecolors": words.COLORS[kind], "facecolors": words.COLORS[kind]}
        axes.scatter(x, y, label=words.LABELS[kind], **{**color, **LOOKS[kind]})
    _scale(axes, panel)
    low, high = panel.y_range
    for kind, rows in ((words.UNTRAINED, panel.rug), (words.BELOW, panel.below)):
        if rows:
            x = panel.column(panel.x, rows)
            y = [low + 0.025 * (high - low)] * len(x)
            look = {"label": words.LABELS[kind], "color": words.COLORS[kind], **LOOKS[kind]}
            axes.scatter(x, y, **look)
    for name, limit in panel.limits.items():
        _draw_limit(axes, panel, name, limit)


def _draw_limit(axes: "Axes", panel: Scatter, name: str, limit: float) -> None:
    """Draw a limit of the budget, and shade what it excludes."""
    axes.set_autoscale_on(False)
    red, label, shaded = words.COLORS[words.LIMIT], "the budget's limit", "excluded"
    if name == panel.x:
        axes.axvline(limit, color=red, linewidth=1.2, label=label)
        axes.axvspan(limit, panel.x_range[1], color=red, alpha=0.08, linewidth=0, label=shaded)
    else:
        end = panel.y_range[0 if metric_of(name).direction == MAXIMIZE else 1]
        axes.axhline(limit, color=red, linewidth=1.2, label=label)
        axes.axhspan(limit, end, color=red, alpha=0.08, linewidth=0, label=shaded)


def _scale(axes: "Axes", panel: Scatter) -> None:
    from matplotlib import ticker

    axes.set_title(panel.title, loc="left", fontsize=10)
    axes.set_xscale("log" if panel.x_log else "linear")
    axes.set_yscale("log" if panel.y_log else "linear")
    for axis, name, log, ends in (
        (axes.xaxis, panel.x, panel.x_log, panel.x_range),
        (axes.yaxis, panel.y, panel.y_log, panel.y_range),
    ):
        axis.set_label_text(metric_of(name).axis + (", logarithmic" if log else ""))
        if log:
            logarithmic(axis, ends)
        elif metric_of(name).is_share:
            axis.set_major_formatter(ticker.PercentFormatter(1.0))
    axes.set_xlim(*panel.x_range)
    axes.set_ylim(*panel.y_range)


def _label(axes: "Axes", panel: Scatter) -> None:
    """Write the trial's number beside each point of the front."""
    extent = axes.get_window_extent()
    points_per_dot = 72 / axes.figure.dpi
    room = extent.width * points_per_dot, extent.height * points_per_dot
    rows = panel.labelled
    sides = panel.label_sides(LETTER, RADIUS, room)
    places = zip(panel.column(panel.x, rows), panel.column(panel.y, rows), strict=True)
    for row, place, side in zip(rows, places, sides, strict=True):
        if side is None:
            continue
        right, up = side
        axes.annotate(
            str(row["trial"]),
            place,
            xytext=(right * 1.3 * RADIUS, up * 1.3 * RADIUS),
            textcoords="offset points",
            ha={1: "left", 0: "center", -1: "right"}[right],
            va={1: "bottom", 0: "center", -1: "top"}[up],
            fontsize=LETTER,
            zorder=5,
        )
