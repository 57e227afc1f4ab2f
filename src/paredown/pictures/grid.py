"""The picture of a grid of jobs: quality, size and speed by the swept value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paredown.metric import QUALITY, limited_metrics, metric_of
from paredown.pictures.sheet import bars, save, sheet
from paredown.pictures.words import SERIES
from paredown.printable import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 4.6, 3.9  # inches of a panel
MARKERS = "os^Dv*PX"  # lines are told apart without colour, too
BESIDE = 0.01  # of the x axis, from one line's points to the next line's
TICKS = 8  # swept values that are written along the axis; of more, round ones are
ROOM = 120  # letters of a legend's line
LETTERS = 14  # of a category's name; a longer one is written at a slant


@dataclass(frozen=True)
class Point:
    """A finished job.

    Args:
        settings: That set it apart from the others: the text after the = by name.
        metrics: Of the file that ships, by name.
        baseline: Of its first row.
    """

    settings: Mapping[str, str]
    metrics: Mapping[str, float]
    baseline: Mapping[str, float]


def grid_picture(points: Sequence[Point], title: str, one_baseline: bool, file: Path) -> bool:
    """Draw the finished jobs of a grid, one line per combination of the settings off the x axis.

    Where the speed-ups have no common baseline, milliseconds are drawn. Returns whether there was
    something to draw: two jobs or more, and a setting that differs.
    """
    names = {name for point in points for name in point.settings}
    if len(points) < 2 or not names:
        return False
    along = axis_of(points)
    metrics = [metric.name for metric in limited_metrics()]
    if one_baseline:
        metrics = ["speedup" if name == "latency_ms" else name for name in metrics]
    metrics = [name for name in metrics if all(name in one.metrics for one in points)]
    figure, panels = sheet(plain(title), len(metrics), WIDTH, HEIGHT)
    lines = lines_of(points, along)
    for axes, metric in zip(panels, metrics, strict=True):
        _draw(axes, lines, along, metric)
    if one_baseline and QUALITY.name in metrics:
        level = 100 * points[0].baseline[QUALITY.name]
        panels[0].axhline(level, color="#5b6472", lw=1, ls=(0, (6, 3)), label="baseline")
    handles, labels = panels[0].get_legend_handles_labels()
    if labels and len(labels) <= len(MARKERS) + 1:
        columns = max(1, min(3, ROOM // max(map(len, labels))))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    save(figure, file)
    return True


def axis_of(points: Sequence[Point]) -> str:
    """Choose the setting on the x axis: the number with the most values, or else the name."""
    values: dict[str, set[str]] = {}
    for point in points:
        for name, text in point.settings.items():
            values.setdefault(name, set()).add(text)
    common = {name for name in values if all(name in point.settings for point in points)}
    return max(
        values,
        key=lambda name: (
            name != "seed",  # its effect is chance
            name in common and all(map(is_number, values[name])),
            len(values[name]),
            name,
        ),
    )


def lines_of(points: Sequence[Point], along: str) -> dict[str, list[tuple[str, Point]]]:
    """Return the points of each line in the order of x, by the settings of the line."""
    lines: dict[str, list[tuple[str, Point]]] = {}
    for point in points:
        own = [f"{name}={text}" for name, text in point.settings.items() if name != along]
        place = point.settings.get(along, "")
        lines.setdefault(" ".join(own), []).append((place, point))
    if all(is_number(place) for line in lines.values() for place, _ in line):
        for line in lines.values():
            line.sort(key=lambda one: float(one[0]))
    return lines


def plain(text: str) -> str:
    """Return a text in one line with its dollars escaped, which Matplotlib takes for formulas."""
    return one_line(text).replace("$", r"\$")


def is_number(text: str) -> bool:
    """Check whether a swept value is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _draw(
    axes: "Axes", lines: Mapping[str, Sequence[tuple[str, Point]]], along: str, metric: str
) -> None:
    places = list(dict.fromkeys(place for line in lines.values() for place, _ in line))
    numbers = all(map(is_number, places))
    known = metric_of(metric)
    factor = 100 if known.is_share else 1
    values = [float(place) if numbers else index for index, place in enumerate(places)]
    apart = BESIDE * (max(values) - min(values))  # else intervals of two lines hide each other
    for index, (label, line) in enumerate(lines.items()):
        aside = apart * (index - (len(lines) - 1) / 2)
        x = [values[places.index(place)] + aside for place, _ in line]
        y = [factor * point.metrics[metric] for _, point in line]
        intervals = bars([point.metrics for _, point in line], metric, factor)
        axes.errorbar(
            x, y, intervals, fmt=MARKERS[index % len(MARKERS)] + ("-" if numbers else ""),
            color=SERIES[index % len(SERIES)], capsize=3, lw=1.3, label=plain(label) or None,
        )  # fmt: skip
    if not numbers:
        slant = 30 if max(map(len, places)) > LETTERS or len(places) > 4 else 0
        axes.set_xticks(
            range(len(places)),
            list(map(plain, places)),
            rotation=slant,
            ha="right" if slant else "center",
        )
        axes.margins(x=0.15)
    elif len(places) <= TICKS:
        axes.set_xticks(values, [f"{value:.4g}" for value in values])
    axes.set_xlabel(plain(along))
    axes.set_ylabel(f"{known.label}, validation split, %" if known.is_share else known.axis)
    if not known.is_share:
        axes.set_ylim(0, 1.04 * axes.get_ylim()[1])
