"""What a hover box says of a point."""

from collections.abc import Mapping

from paredown.metric import MINIMIZE, QUALITY, Metric, metric_of, table_metrics
from paredown.pictures.page import shown
from paredown.pictures.scatter import Row
from paredown.pictures.words import value_text

LINES = 6  # of a hover box
TOGETHER = (  # a line each
    [QUALITY],
    [metric for metric in table_metrics() if metric.direction == MINIMIZE],
    [metric_of("speedup")],
)


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
    values = [f"{name} = {value_text(value)}" for name, value in row.get("params", {}).items()]
    half = (len(values) + 1) // 2 if len(values) > 2 else len(values)
    lines = [", ".join(values[:half]), ", ".join(values[half:]), *row.get("notes", [])]
    figures = row["metrics"]
    known = [
        " · ".join(_figure(metric, figures) for metric in metrics if metric.name in figures)
        for metrics in TOGETHER
    ]
    if not any(known):  # metrics of somebody else's
        known = [f"{name}: {metric_of(name).write(value)}" for name, value in figures.items()]
    return [first, *map(shown, [line for line in (*lines, *known) if line][: LINES - 1])]


def _figure(metric: Metric, figures: Mapping[str, float]) -> str:
    """Write a figure with its unit, or else its label, and its 95 % interval."""
    value, bracket, interval = metric.cell(figures).partition(" ")
    text = f"{value} {metric.column}" if metric.direction == MINIMIZE else f"{metric.label} {value}"
    return text + bracket + interval
