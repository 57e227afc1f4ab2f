"""A few measured variants by name: quality against each cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paredown.metric import QUALITY, limited_costs
from paredown.pictures.scale import widen_log
from paredown.pictures.sheet import bars, logarithmic, save, sheet
from paredown.pictures.words import BARS


def rows_picture(rows: Sequence[Mapping[str, Any]], title: str, file: Path) -> None:
    """Draw variants with the 95 % interval of their quality."""
    name = QUALITY.name
    costs = [metric for metric in limited_costs() if all(metric.name in row for row in rows)]
    figure, panels = sheet(title, len(costs), 5.2, 4.0)
    middle = [100 * row[name] for row in rows]
    for axes, cost in zip(panels, costs, strict=True):
        places = [row[cost.name] for row in rows]
        axes.errorbar(places, middle, bars(rows, name, 100), fmt="o", color=BARS[0], capsize=3)
        for row, x, y in zip(rows, places, middle, strict=True):
            axes.annotate(row["stage"], (x, y), (6, 5), textcoords="offset points", fontsize=9)
        low, high = widen_log(places)
        axes.set_xscale("log")
        axes.set_xlim(low, high * (high / low) ** 0.25)  # room for the last name
        logarithmic(axes.xaxis, axes.get_xlim())
        axes.set_xlabel(f"{cost.axis}, logarithmic")
        axes.set_ylabel(f"{QUALITY.label}, validation split, %")
    save(figure, file)
