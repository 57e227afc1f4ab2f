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
WIDE = 140  # letters of a line in a pipe, where every column has room
LATER = "Latency is taken when the jobs of the sweep are done."
BUSY = 0.25  # cores of other work that are worth a warning


def path_table(title: str, rows: Sequence[Row], eager: Mapping[str, float]) -> Fitted:
    """Lay out one run: a row a stage, and the baseline in eager PyTorch beside it.

    Args:
        title: The run's name.
        rows: In the order of the path; the first is the baseline.
        eager: latency_ms, latency_ms_p95, and the runtime's own gain, runtime_speedup; empty if
            latency is taken later.
    """
    columns = [
        Column("stage", [stage_cell(row) for row in rows], number=False),
        *(_column(metric, rows) for metric in shown(rows)),
    ]
    timed = any("latency_ms" in row for row in rows)
    return Fitted(title, columns, [_told_eager(eager) if timed else LATER, *_zeros(rows)])


def shown(rows: Sequence[Row]) -> list[Metric]:
    """List the metrics that have a column and that some row has."""
    return [metric for metric in table_metrics() if any(metric.name in row for row in rows)]


def _column(metric: Metric, rows: Sequence[Row]) -> Column:
    """Lay out a metric; where room is short, without the brackets."""
    cells, plain = ([metric.cell(row, alone) for row in rows] for alone in (False, True))
    if cells == plain:
        return Column(metric.column, cells, metric.rank and metric.rank + 1)
    short = Column(metric.column, plain)
    return Column(head(metric, cells), cells, metric.rank + 1, short)


def head(metric: Metric, cells: Sequence[str]) -> str:
    """Name a column, with the meaning of the brackets in its cells."""
    interval = " [95 %]" if any("[" in cell for cell in cells) else ""
    beside = " (p95)" if any("(" in cell for cell in cells) else ""
    return metric.column + interval + beside


def stage_cell(row: Row) -> str:
    """Write a row's stage, with its note."""
    return one_line(titled(row["stage"], row.get("note", "")))


def _told_eager(eager: Mapping[str, float]) -> str:
    """Tell what the runtime is worth by itself."""
    if not eager:
        return "Speed-ups are within the runtime, against the baseline."
    return (
        f"The baseline takes {eager['latency_ms']:.2f} ms (p95 {eager['latency_ms_p95']:.2f}) in "
        f"eager PyTorch: the runtime alone is {eager['runtime_speedup']:.1f} times faster. "
        "Speed-ups above are within the runtime, against the baseline."
    )


def told_busy(cores: float) -> list[str]:
    """Warn where other work kept the host busy while latency was taken.

    Args:
        cores: That it kept busy, in the mean.
    """
    if cores < BUSY:
        return []
    told = f"busy:    other work took {cores:.1f} of {os.cpu_count()} cores while this was timed"
    return [f"{told}: trust the speed-ups more than the milliseconds"]


def _zeros(rows: Sequence[Row]) -> list[str]:
    """Tell what zeros are worth that stay in their place: nothing but when the file is packed."""
    return [
        f"In {one_line(row['stage'])} {row['zeros']:.0%} of the weights are zeros: packed by "
        f"DEFLATE it has {row['compressed_mb']:.2f} MB, "
        "and neither on the disk nor in the runtime fewer."
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
    console = _Patient(markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    with ignoring_lost_stdout():
        for part in parts:
            if isinstance(part, str):
                console.print(printable(part), highlight=False, soft_wrap=True)
            else:
                console.print(part, highlight=False)


class _Patient(Console):
    """A console whose reader may be gone: Rich would end the process, with its work half done."""

    def on_broken_pipe(self) -> NoReturn:
        """Hand the error on."""
        raise BrokenPipeError(errno.EPIPE, "its reader is gone")
