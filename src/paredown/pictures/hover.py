"""What a hover box says of a point."""

from collections.abc import Mapping

from paredown.pictures.page import shown
from paredown.pictures.scatter import Row
from paredown.pictures.words import form, with_interval

LINES = 6  # of a hover box
TOGETHER = (("accuracy",), ("size_mb", "latency_ms", "params"), ("speedup",))  # a line each
UNITS = {  # what stands before and after a figure
    "accuracy": ("accuracy ", ""),
    "size_mb": ("", " MB"),
    "latency_ms": ("", " ms"),
    "params": ("", " parameters"),
    "speedup": ("speed-up ", ""),
}


def hover(row: Row) -> str:
    """Tell a trial in a hover box of six lines at most."""
    return "<br>".join(hover_lines(row))


def hover_lines(row: Row) -> list[str]:
    """Write what a hover box says, as HTML: who, values, and the figures that matter."""
    first = "<b>baseline</b>"
    if "title" in row:  # whoever made the row says it
        first = f"<b>{shown(row['title'])}</b>"
    elif "trial" in row:
        job = "from an earlier sweep" if row["job"] is None else f"job {row['job']}"
        first = f"<b>trial {row['trial']}</b>, {job}"
    values = [f"{name} = {form(name, value)}" for name, value in row.get("params", {}).items()]
    half = (len(values) + 1) // 2 if len(values) > 2 else len(values)
    lines = [", ".join(values[:half]), ", ".join(values[half:]), *row.get("notes", [])]
    figures = row["metrics"]
    known = [
        " · ".join(_figure(name, figures) for name in names if name in figures)
        for names in TOGETHER
    ]
    if not any(known):  # metrics of somebody else's
        known = [f"{name}: {form(name, value)}" for name, value in figures.items()]
    return [first, *map(shown, [line for line in (*lines, *known) if line][: LINES - 1])]


def _figure(name: str, figures: Mapping[str, float]) -> str:
    """Write a figure with its unit and its 95 % interval."""
    before, after = UNITS[name]
    value, bracket, interval = with_interval(name, figures).partition(" [")
    return f"{before}{value}{after}{bracket}{interval}"
