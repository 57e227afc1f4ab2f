"""Tables of what was measured."""

import errno
import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from paredown.logs import told_if_lost
from paredown.printable import in_markdown, one_line, printable
from paredown.results import titled

Row = Mapping[str, Any]
"""A variant: its stage and its metrics by name."""
PATH = ("stage", "accuracy, % [95 %]", "MB", "ms (p95)", "speed-up [95 %]", "params", "MMACs",
        "sparsity")  # fmt: skip
BUSY = 0.25  # cores of other work that are worth a warning


def path_table(title: str, rows: Sequence[Row], eager: Mapping[str, float]) -> Table:
    """Lay out one run: a row a stage, and the baseline in eager PyTorch beside it.

    Args:
        title: The run's name.
        rows: In the order of the path; the first is the baseline.
        eager: latency_ms, latency_ms_p95, and the runtime's own gain, runtime_speedup; empty if
            latency is taken later.
    """
    table = Table(title=one_line(title), title_justify="left", caption_justify="left")
    for name in PATH:
        table.add_column(name, justify="left" if name == "stage" else "right")
    for row in rows:
        table.add_row(*path_cells(row))
    table.caption = _told_eager(eager) + _zeros(rows)
    return table


def _told_eager(eager: Mapping[str, float]) -> str:
    """Tell what the runtime is worth by itself."""
    if not eager:
        return "Latency is taken when the jobs of the sweep are done."
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


def _zeros(rows: Sequence[Row]) -> str:
    """Tell what zeros are worth that stay in their place: nothing but when the file is packed."""
    return "".join(
        f"\nIn {one_line(row['stage'])} {row['zeros']:.0%} of the weights are zeros: packed by "
        f"DEFLATE it has {row['compressed_mb']:.2f} MB, "
        "and neither on the disk nor in the runtime fewer."
        for row in rows
        if row.get("zeros", 0) >= 0.01
    )


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


def jobs_table(title: str, jobs: Sequence[Mapping[str, Any]]) -> Table:
    """Lay out a sweep: a row a job, with the metrics of its last stage.

    Args:
        title: Of the sweep.
        jobs: Each with number, overrides, status, and either rows or an error.
    """
    same = set.intersection(*(set(job["overrides"]) for job in jobs)) if len(jobs) > 1 else set()
    shared = " ".join(text for text in jobs[0]["overrides"] if text in same) if jobs else ""
    caption = Text(printable(f"all jobs: {shared}")) if shared else None  # they hold [brackets]
    head = Text(one_line(title))
    table = Table(title=head, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("job", justify="right")
    table.add_column("overrides", overflow="fold")
    for name in ("accuracy", "MB", "ms", "speed-up", "params", "MMACs"):
        table.add_column(name, justify="right")
    table.add_column("status")
    for job in jobs:
        own = " ".join(text for text in job["overrides"] if text not in same)
        overrides = Text(printable(own))
        if job["status"] != "FINISHED":
            told = Text(one_line(f"{job['status']}: {job['error']}"))
            table.add_row(str(job["number"]), overrides, *[""] * 6, told)
            continue
        last = job["rows"][-1]
        table.add_row(
            str(job["number"]),
            overrides,
            f"{last['accuracy']:.2%}",
            f"{last['size_mb']:.3f}",
            _number(last, "latency_ms", ".3f"),
            _number(last, "speedup", ".2f"),
            f"{last['params']:,.0f}",
            f"{last['macs'] / 1e6:.2f}",
            "FINISHED",
        )
    return table


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


def show(*parts: Table | str) -> None:
    """Print tables and lines to stdout; a pipe gets them in full width."""
    console = _Patient(markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 140
    with told_if_lost():
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
