"""Tables of what was measured."""

import errno
import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from paredown.host.logs import ignoring_lost_stdout
from paredown.printable import in_markdown, one_line, printable
from paredown.report.fitted import Column, Fitted
from paredown.run.results import titled

Row = Mapping[str, Any]
"""A variant: its stage and its metrics by name."""
PATH = ("stage", "accuracy, % [95 %]", "MB", "ms (p95)", "speed-up [95 %]", "params", "MMACs",
        "sparsity")  # fmt: skip
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
    cells = dict(zip(PATH, zip(*map(path_cells, rows), strict=True), strict=True))

    def column(name: str, rank: int, short: Column | None = None) -> Column:
        return Column(name, cells[name], rank, short)

    def alone(name: str, rank: int) -> Column:
        return Column(name.partition(" [")[0].partition(" (")[0], _alone(cells[name]), rank)

    stage, accuracy, size, latency, speedup, params, macs, sparsity = PATH
    columns = [
        Column(stage, cells[stage], number=False),
        column(accuracy, 1, alone(accuracy, 0)),
        column(size, 0),
        column(latency, 3, alone(latency, 0)),
        column(speedup, 2, alone(speedup, 0)),
        column(params, 4),
        column(macs, 5),
        column(sparsity, 6),
    ]
    timed = any("latency_ms" in row for row in rows)
    return Fitted(title, columns, [_told_eager(eager) if timed else LATER, *_zeros(rows)])


def _alone(cells: Sequence[str]) -> list[str]:
    """Leave out what stands in brackets."""
    return [cell.partition(" [")[0].partition(" (")[0] for cell in cells]


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


def path_cells(row: Row) -> list[str]:
    """Write a variant's metrics into the columns of PATH."""
    return [
        one_line(titled(row["stage"], row.get("note", ""))),
        f"{row['accuracy']:.2%} [{row['accuracy_low']:.1%}, {row['accuracy_high']:.1%}]",
        f"{row['size_mb']:.3f}",
        _latency(row),
        _speedup(row),
        f"{row['params']:,.0f}",
        f"{row['macs'] / 1e6:.2f}",
        f"{row['sparsity']:.1%}",
    ]


def _latency(row: Row) -> str:
    if "latency_ms" not in row:
        return ""
    return f"{row['latency_ms']:.3f} ({row['latency_ms_p95']:.3f})"


def _speedup(row: Row) -> str:
    if "speedup" not in row:
        return ""
    if "speedup_low" not in row:  # timed in one process only
        return f"{row['speedup']:.2f}"
    return f"{row['speedup']:.2f} [{row['speedup_low']:.2f}, {row['speedup_high']:.2f}]"


def _number(row: Row, name: str, form: str) -> str:
    """Write a figure; nothing for one that is not taken yet."""
    return format(row[name], form) if name in row else ""


def markdown(rows: Sequence[Row]) -> str:
    """Write a run's rows as a Markdown table."""
    lines = [
        "| stage | accuracy | MB | ms | speed-up | params | MMACs |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {in_markdown(titled(row['stage'], row.get('note', '')))} "
        f"| {row['accuracy']:.2%} | {row['size_mb']:.3f} "
        f"| {_number(row, 'latency_ms', '.3f')} | {_number(row, 'speedup', '.2f')} "
        f"| {row['params']:,.0f} "
        f"| {row['macs'] / 1e6:.2f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


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
