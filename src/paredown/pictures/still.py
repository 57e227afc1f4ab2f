"""The static picture of a search, drawn with Matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from paredown.metric import MAXIMIZE, metric_of
from paredown.pictures.panels import growth, headline, scatters, shares
from paredown.pictures.scatter import Found, Scatter
from paredown.pictures.sheet import logarithmic
from paredown.pictures.words import (
    BARS,
    BASELINE,
    BELOW,
    COLORS,
    DEFAULT,
    DOMINATED,
    FRONT,
    LIMIT,
    MISSED,
    NEAREST,
    TOLD,
    UNTRAINED,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI, LETTER, RADIUS = 110, 9, 4  # dots an inch; points of 1/72 inch
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


def front_picture(found: Found, file: Path) -> None:
    """Draw what a search found as a PNG; the same data give the same bytes.

    Args:
        found: What front.json holds.
        file: To write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels: list[Any] = [(_draw_points, panel) for panel in scatters(found)]
    panels += [(_draw_growth, grown)] if (grown := growth(found)) else []
    panels += [(_draw_shares, told)] if (told := shares(found)) else []
    columns = min(2, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(_title(found, columns), fontsize=12, x=0.01, ha="left")
    for at, (draw, panel) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, at + 1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e4e6ea", linewidth=0.7)
        axes.set_axisbelow(True)
        draw(axes, panel)
    if not panels:
        figure.text(0.5, 0.5, "nothing to draw", ha="center", color=COLORS[DOMINATED])
    _explain(figure)
    figure.draw_without_rendering()  # the layout is settled now, and labels can look for room
    for axes, (draw, panel) in zip(figure.axes, panels, strict=True):
        if draw is _draw_points:
            _label(axes, panel)
    partial = file.with_name(f".{file.name}")
    figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})
    partial.rename(file)


def _title(found: Found, columns: int) -> str:
    import textwrap

    return textwrap.fill(headline(found), 58 * columns)


def _explain(figure: Any) -> None:
    """Put one legend below all panels, each kind of mark once."""
    told: dict[str, Any] = {}
    for axes in figure.axes:
        if axes.get_label() == "points":
            handles, names = axes.get_legend_handles_labels()
            told |= dict(zip(names, handles, strict=True))
    if told:
        figure.legend(
            told.values(), told.keys(), loc="outside lower center", ncols=5, frameon=False,
            fontsize=LETTER,
        )  # fmt: skip


def _draw_points(axes: "Axes", panel: Scatter) -> None:
    axes.set_label("points")
    for kind, rows in panel.points.items():
        x, y = panel.column(panel.x, rows), panel.column(panel.y, rows)
        color = {"edgecolors": COLORS[kind], "facecolors": COLORS[kind]}
        axes.scatter(x, y, label=TOLD[kind], **{**color, **LOOKS[kind]})
    _scale(axes, panel)
    for kind, rows in ((UNTRAINED, panel.rug), (BELOW, panel.below)):
        if rows:
            x = panel.column(panel.x, rows)
            low, high = panel.y_range
            y = [low + 0.025 * (high - low)] * len(x)
            axes.scatter(x, y, label=TOLD[kind], color=COLORS[kind], **LOOKS[kind])
    for name, limit in panel.limits.items():
        _draw_limit(axes, panel, name, limit)


def _draw_limit(axes: "Axes", panel: Scatter, name: str, limit: float) -> None:
    """Draw a limit of the budget, and shade what it excludes."""
    axes.set_autoscale_on(False)
    red, told, shaded = COLORS[LIMIT], "the budget's limit", "excluded"
    if name == panel.x:
        axes.axvline(limit, color=red, linewidth=1.2, label=told)
        axes.axvspan(limit, panel.x_range[1], color=red, alpha=0.08, linewidth=0, label=shaded)
    else:
        end = panel.y_range[0 if metric_of(name).direction == MAXIMIZE else 1]
        axes.axhline(limit, color=red, linewidth=1.2, label=told)
        axes.axhspan(limit, end, color=red, alpha=0.08, linewidth=0, label=shaded)


def _scale(axes: "Axes", panel: Scatter) -> None:
    from matplotlib import ticker

    axes.set_title(
        f"{metric_of(panel.y).label} against {metric_of(panel.x).label}", loc="left", fontsize=10
    )
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
    room = tuple(72 / axes.figure.dpi * side for side in (extent.width, extent.height))
    found = panel.label_sides(LETTER, RADIUS, (room[0], room[1]))
    rows = panel.labelled
    places = zip(panel.column(panel.x, rows), panel.column(panel.y, rows), strict=True)
    for row, place, side in zip(rows, places, found, strict=True):
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


def _draw_growth(axes: "Axes", grown: tuple[list[int], list[float], str]) -> None:
    from matplotlib import ticker

    numbers, volumes, told = grown
    axes.step(numbers, volumes, where="post", color=COLORS[FRONT], marker="o", markersize=3)
    axes.set_title(f"hypervolume by trial: {told}", loc="left", fontsize=10)
    axes.set_xlabel("trial")
    axes.set_ylabel("hypervolume of the front")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))


def _draw_shares(axes: "Axes", told: tuple[list[str], dict[str, list[float]]]) -> None:
    from matplotlib import ticker

    names, by_goal = told
    thick = 0.8 / len(by_goal)
    for at, (goal, of) in enumerate(by_goal.items()):
        y = [group + 0.4 - thick * (at + 0.5) for group in range(len(names))]
        axes.barh(
            y, of, height=thick * 0.92, color=BARS[at % len(BARS)], label=metric_of(goal).label
        )
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(ticker.PercentFormatter(1.0))
    axes.set_title("how much each swept value decides", loc="left", fontsize=10)
    axes.set_xlabel("share of the variation")
    axes.legend(frameon=False, fontsize=LETTER, loc="lower right")
