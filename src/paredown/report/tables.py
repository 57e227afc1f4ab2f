"""Tables of what was measured."""

import errno
import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from paredown.host.logs import ignoring_lost_stdout
from paredown.metric import Metric, table_metrics
from paredown.printable import in_markdown, one_line, printable
from paredown.report.fitted import Column, Fitted
from paredown.run.results import titled

Row = Mapping[str, Any]
"""A variant: its stage and its metrics by name."""
WIDE = 140  # letters per line in a pipe, where every column has room
LATER = "Latency is taken when the jobs of the sweep are done."
BUSY = 0.25  # cores of other work that are worth a warning


def path_table(title: str, rows: Sequence[Row], eager: Mapping[str, float]) -> Fitted:
    """Lay out one run, one row per stage, with the baseline in eager PyTorch below.

    `eager` has its latency_ms, latency_ms_p95 and runtime_speedup; empty if latency is taken later.
    """
    columns = [
        Column("stage", [stage_cell(row) for row in rows], number=False),
        *(_column(metric, rows) for metric in shown(rows)),
    ]
    timed = any("latency_ms" in row for row in rows)
    return Fitted(title, columns, [_eager_note(eager) if timed else LATER, *_zeros(rows)])


def shown(rows: Sequence[Row]) -> list[Metric]:
    """List the metrics of a table that some row has."""
    return [metric for metric in table_metrics() if any(metric.name in row for row in rows)]


def _column(metric: Metric, rows: Sequence[Row]) -> Column:
    """Lay out a metric; where room is short, without its brackets."""
    cells, plain = ([metric.cell(row, alone) for row in rows] for alone in (False, True))
    if cells == plain:
        return Column(metric.column, cells, metric.rank and metric.rank + 1)
    short = Column(metric.column, plain)
    return Column(head(metric, cells), cells, metric.rank + 1, short)


def head(metric: Metric, cells: Sequence[str]) -> str:
    """Return the head of a column, with the meaning of the brackets in its cells."""
    interval = " [95 %]" if any("[" in cell for cell in cells) else ""
    beside = " (p95)" if any("(" in cell for cell in cells) else ""
    return metric.column + interval + beside


def stage_cell(row: Row) -> str:
    """Write a row's stage, with its note."""
    return one_line(titled(row["stage"], row.get("note", "")))


def _eager_note(eager: Mapping[str, float]) -> str:
    """Return a note on the speed-up of the runtime alone."""
    if not eager:
        return "Speed-ups are within the runtime, against the baseline."
    return (
        f"The baseline takes {eager['latency_ms']:.2f} ms (p95 {eager['latency_ms_p95']:.2f}) in "
        f"eager PyTorch: the runtime alone is {eager['runtime_speedup']:.1f} times faster. "
        "Speed-ups above are within the runtime, against the baseline."
    )


def busy_warning(cores: float) -> list[str]:
    """Return the lines of a warning where other work kept so many cores busy during timing."""
    if cores < BUSY:
        return []
    busy = f"busy:    other work took {cores:.1f} of {os.cpu_count()} cores during timing"
    return [f"{busy}: trust the speed-ups more than the milliseconds"]


def _zeros(rows: Sequence[Row]) -> list[str]:
    """Return notes on stages whose zeros stay in place: they only pay off under compression."""
    return [
        f"In {one_line(row['stage'])} {row['zeros']:.0%} of the weights are zeros: "
        f"{row['compressed_mb']:.2f} MB after DEFLATE; no smaller on disk or in memory."
        for row in rows
        if row.get("zeros", 0) >= 0.01
    ]


def markdown(rows: Sequence[Row]) -> str:
    """Write a run's rows as a Markdown table."""
    metrics = shown(rows)
    lines = [["stage", *(metric.column for metric in metrics)], ["---"] * (1 + len(metrics))]
    for row in rows:
        title = in_markdown(titled(row["stage"], row.get("note", "")))
        lines.append([title, *(metric.cell(row, alone=True) for metric in metrics)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def show(*parts: Fitted | Table | str) -> None:
    """Print tables and lines to stdout; a pipe gets them in full width."""
    console = _RaisingConsole(markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    with ignoring_lost_stdout():
        for part in parts:
            if isinstance(part, str):
                console.print(printable(part), highlight=False, soft_wrap=True)
            else:
                console.print(part, highlight=False)


class _RaisingConsole(Console):
    """A console that raises when its reader is gone, where Rich would exit amid the work."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise, as a write to a closed pipe does."""
        raise BrokenPipeError(errno.EPIPE, "its reader is gone")
