"""The static picture of a search, drawn with Matplotlib."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paredown.metric import MAXIMIZE, metric_of
from paredown.pictures.panels import Growth, Importances, growth, headline, importances, scatters
from paredown.pictures.scatter import Scatter, SearchSummary
from paredown.pictures.sheet import logarithmic, save, sheet
from paredown.pictures.words import (
    BARS,
    BASELINE,
    BELOW,
    COLORS,
    DEFAULT,
    DOMINATED,
    FRONT,
    LABELS,
    LIMIT,
    MISSED,
    NEAREST,
    UNTRAINED,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LETTER, RADIUS = 9, 4  # points of 1/72 inch
PANEL = (6.2, 4.4)  # inches
LOOKS: dict[str, dict[str, Any]] = {
    DOMINATED: {"marker": "o", "s": 22, "zorder": 2},
    MISSED: {"marker": "o", "s": 22, "facecolors": "none", "zorder": 2},
    FRONT: {"marker": "o", "s": 46, "zorder": 4},
    NEAREST: {"marker": "o", "s": 46, "zorder": 4},
    DEFAULT: {"marker": "s", "s": 110, "facecolors": "none", "linewidths": 1.6, "zorder": 3},
    BASELINE: {"marker": "*", "s": 150, "zorder": 3},
    UNTRAINED: {"marker": "|", "s": 60, "linewidths": 1.2, "zorder": 2},
    BELOW: {"marker": "v", "s": 50, "zorder": 2},
}


def front_picture(summary: SearchSummary, file: Path) -> None:
    """Draw a search as a PNG; the same data give the same bytes."""
    drawings: list[Any] = [(_draw_points, panel) for panel in scatters(summary)]
    drawings += [(_draw_growth, volumes)] if (volumes := growth(summary)) else []
    drawings += [(_draw_importances, shares)] if (shares := importances(summary)) else []
    columns = min(2, max(1, len(drawings)))
    title = textwrap.fill(headline(summary), 58 * columns)
    figure, panels = sheet(title, len(drawings), *PANEL, columns, head=0.9)
    for axes, (draw, content) in zip(panels, drawings, strict=True):
        draw(axes, content)
    if not drawings:
        figure.text(0.5, 0.5, "nothing to draw", ha="center", color=COLORS[DOMINATED])
    _add_legend(figure)
    figure.draw_without_rendering()  # settles the layout, so that labels can be placed
    for axes, (_, content) in zip(panels, drawings, strict=True):
        if isinstance(content, Scatter):
            _label(axes, content)
    save(figure, file)


def _add_legend(figure: "Figure") -> None:
    """Put one legend below all panels, each kind of mark once."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        if axes.get_label() == "points":
            handles, names = axes.get_legend_handles_labels()
            entries |= dict(zip(names, handles, strict=True))
    if entries:
        figure.legend(
            entries.values(), entries.keys(), loc="outside lower center", ncols=5, frameon=False,
            fontsize=LETTER,
        )  # fmt: skip


def _draw_points(axes: "Axes", panel: Scatter) -> None:
    axes.set_label("points")
    for kind, rows in panel.points.items():
        x, y = panel.column(panel.x, rows), panel.column(panel.y, rows)
        color = {"edgecolors": COLORS[kind], "facecolors": COLORS[kind]}
        axes.scatter(x, y, label=LABELS[kind], **{**color, **LOOKS[kind]})
    _scale(axes, panel)
    for kind, rows in ((UNTRAINED, panel.rug), (BELOW, panel.below)):
        if rows:
            x = panel.column(panel.x, rows)
            low, high = panel.y_range
            y = [low + 0.025 * (high - low)] * len(x)
            axes.scatter(x, y, label=LABELS[kind], color=COLORS[kind], **LOOKS[kind])
    for name, limit in panel.limits.items():
        _draw_limit(axes, panel, name, limit)


def _draw_limit(axes: "Axes", panel: Scatter, name: str, limit: float) -> None:
    """Draw a limit of the budget, and shade what it excludes."""
    axes.set_autoscale_on(False)
    red, label, shaded = COLORS[LIMIT], "the budget's limit", "excluded"
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


def _draw_growth(axes: "Axes", growth: Growth) -> None:
    from matplotlib import ticker

    color = COLORS[FRONT]
    axes.step(growth.numbers, growth.volumes, where="post", color=color, marker="o", markersize=3)
    axes.set_title(f"hypervolume by trial: {growth.caption}", loc="left", fontsize=10)
    axes.set_xlabel("trial")
    axes.set_ylabel("hypervolume of the front")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))


def _draw_importances(axes: "Axes", importances: Importances) -> None:
    from matplotlib import ticker

    groups = range(len(importances.names))
    thickness = 0.8 / len(importances.shares)
    for index, (objective, shares) in enumerate(importances.shares.items()):
        y = [group + 0.4 - thickness * (index + 0.5) for group in groups]
        color, label = BARS[index % len(BARS)], metric_of(objective).label
        axes.barh(y, shares, height=thickness * 0.92, color=color, label=label)
    axes.set_yticks(groups, importances.names)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(ticker.PercentFormatter(1.0))
    axes.set_title("how much each swept value decides", loc="left", fontsize=10)
    axes.set_xlabel("share of the variation")
    axes.legend(frameon=False, fontsize=LETTER, loc="lower right")
