"""Hover boxes of points."""

from collections.abc import Mapping

from paredown.metric import MINIMIZE, QUALITY, Metric, brief_metrics, metric_of
from paredown.pictures.page import escaped
from paredown.pictures.scatter import Row
from paredown.pictures.words import value_text

LINES = 6  # of a hover box
COSTS = [metric for metric in brief_metrics() if metric.direction == MINIMIZE]
GAINS = [metric for metric in brief_metrics() if metric not in (QUALITY, *COSTS)]


def hover(row: Row) -> str:
    """Return the hover box of a trial as HTML, six lines at most."""
    return "<br>".join(hover_lines(row))


def hover_lines(row: Row) -> list[str]:
    """Return the lines of a hover box as HTML: trial, swept values, and metrics."""
    title = "<b>baseline</b>"
    if "title" in row:  # set by who built the row
        title = f"<b>{escaped(row['title'])}</b>"
    elif "trial" in row:
        job = "from an earlier sweep" if row["job"] is None else f"job {row['job']}"
        title = f"<b>trial {row['trial']}</b>, {job}"
    values = [f"{name} = {value_text(value)}" for name, value in row.get("params", {}).items()]
    half = (len(values) + 1) // 2 if len(values) > 2 else len(values)
    lines = [", ".join(values[:half]), ", ".join(values[half:]), *row.get("notes", [])]
    metrics = row["metrics"]
    figures = [
        " · ".join(_figure(metric, metrics) for metric in group if metric.name in metrics)
        for group in ([QUALITY], COSTS, GAINS)
    ]
    if not any(figures):  # metrics that Paredown does not know
        figures = [f"{name}: {metric_of(name).write(value)}" for name, value in metrics.items()]
    return [title, *map(escaped, [line for line in (*lines, *figures) if line][: LINES - 1])]


def _figure(metric: Metric, metrics: Mapping[str, float]) -> str:
    """Write a figure with its unit, or else its label, and its 95 % interval."""
    value, bracket, interval = metric.cell(metrics).partition(" ")
    text = f"{value} {metric.column}" if metric.direction == MINIMIZE else f"{metric.label} {value}"
    return text + bracket + interval
