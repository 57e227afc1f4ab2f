"""The table of a sweep's jobs."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from paredown.metric import brief_metrics
from paredown.report.fitted import Column, Fitted

Job = Mapping[str, Any]
"""Content of a job's result file, and its number."""
FINISHED = "FINISHED"
LONG = re.compile(r"(?<![\w.])-?\d+\.\d{4,}(?:e[-+]?\d+)?(?![\w.])")


def jobs_table(title: str, jobs: Sequence[Job]) -> Fitted:
    """Lay out a sweep, one row per job, with the metrics of its last stage.

    Speed-ups are shown only where all jobs have the same baseline.
    """
    shared, own = split_overrides([job["overrides"] for job in jobs])
    same_baseline = one_baseline(jobs)
    last = [_last(job) for job in jobs]
    figures = [
        Column(metric.column, [metric.cell(row, alone=True) for row in last], metric.rank)
        for metric in brief_metrics()
        if same_baseline or not metric.relative
    ]
    ended = [job["status"] for job in jobs]
    columns = [
        Column("job", [str(job["number"]) for job in jobs]),
        Column("overrides", own, number=False),
        *figures,
        Column("status", ended, 0 if set(ended) - {FINISHED} else 5, number=False),
    ]
    notes = [
        f"job {job['number']} {job['status']}: {job['error']}" for job in jobs if not _last(job)
    ]
    if not same_baseline:
        notes.append("The jobs have different baselines: compare milliseconds, not speed-ups.")
    return Fitted(title, columns, [*notes, *([f"all jobs: {shared}"] if shared else [])])


def split_overrides(jobs: Sequence[Sequence[str]]) -> tuple[str, list[str]]:
    """Return the overrides that all jobs share, and those of each job that differ.

    Swept values have four digits, unless two jobs would look alike.
    """
    same = set.intersection(*map(set, jobs)) if len(jobs) > 1 else set()
    shared = " ".join(text for text in jobs[0] if text in same) if jobs else ""
    own = [" ".join(text for text in job if text not in same) for job in jobs]
    brief = [LONG.sub(lambda long: f"{float(long[0]):.4g}", text) for text in own]
    return shared, brief if len(set(brief)) == len(set(own)) else own


def one_baseline(jobs: Sequence[Job]) -> bool:
    """Check whether the finished jobs are measured against one network in one runtime."""
    first = [job["rows"][0] for job in jobs if _last(job)]
    networks = {tuple(row.get(name) for name in ("params", "macs", "size_mb")) for row in first}
    runtimes = {
        tuple(sorted(text for text in job["overrides"] if text.lstrip("+").startswith("runtime")))
        for job in jobs
    }
    return len(networks) < 2 and len(runtimes) < 2


def _last(job: Job) -> Mapping[str, Any]:
    """Return the metrics of the file that ships; empty for a job that did not finish."""
    last: Mapping[str, Any] = job["rows"][-1] if job["status"] == FINISHED else {}
    return last
