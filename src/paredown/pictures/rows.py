"""A few measured variants by name: accuracy against size and against latency."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paredown.pictures.scale import widen_log
from paredown.pictures.sheet import logarithmic, save, sheet
from paredown.pictures.words import BARS

AXES = {"size_mb": "size of the file, MB, logarithmic", "latency_ms": "latency, ms, logarithmic"}


def rows_picture(rows: Sequence[Mapping[str, Any]], title: str, file: Path) -> None:
    """Draw variants with the 95 % interval of their accuracy.

    Args:
        rows: Each with its name as `stage`, and metrics.
        title: Above both panels.
        file: A PNG, to write.
    """
    figure, panels = sheet(title, 2, 5.2, 4.0)
    for axes, (name, label) in zip(panels, AXES.items(), strict=True):
        places = [row[name] for row in rows]
        middle = [100 * row["accuracy"] for row in rows]
        bounds = [
            [100 * (row["accuracy"] - row["accuracy_low"]) for row in rows],
            [100 * (row["accuracy_high"] - row["accuracy"]) for row in rows],
        ]
        axes.errorbar(places, middle, bounds, fmt="o", color=BARS[0], capsize=3)
        for row, x, y in zip(rows, places, middle, strict=True):
            axes.annotate(row["stage"], (x, y), (6, 5), textcoords="offset points", fontsize=9)
        low, high = widen_log(places)
        axes.set_xscale("log")
        axes.set_xlim(low, high * (high / low) ** 0.25)  # room for the last name
        logarithmic(axes.xaxis, axes.get_xlim())
        axes.set_xlabel(label)
        axes.set_ylabel("accuracy, validation split, %")
    save(figure, file)
