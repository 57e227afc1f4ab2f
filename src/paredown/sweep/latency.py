"""Deferred latency: time the files of all jobs on one worker after the sweep."""

import logging
import tempfile
from pathlib import Path
from typing import Any

from paredown.host import machine
from paredown.measure.latency import DEFERRED, Stopwatch
from paredown.pick.candidates import Candidate
from paredown.report import busy_warning, markdown, show
from paredown.run.results import RESULT, read_any_result, rounded, write_result
from paredown.tracking.reader import Logged, under
from paredown.tracking.restore import RunRestorer
from paredown.tracking.tracker import Tracker

log = logging.getLogger(__name__)


def time_sweep(tracker: Tracker, parent: str, sweep: Path) -> None:
    """Time every stage of every finished job of a sweep that has no latency yet, here and now.

    A job's files are fetched from MLflow and timed beside its own baseline, as the job would have;
    results that jobs left in the sweep's folder are completed.
    """
    waiting = [
        run
        for run in tracker.finished(parent)
        if not all(f"{stage}/latency_ms" in run.metrics for stage in run.stages)
    ]
    if not waiting:
        return
    log.info("timing the files of %d jobs, one job at a time", len(waiting))
    busy = []
    with tempfile.TemporaryDirectory(prefix="paredown-") as scratch:
        restorer = RunRestorer(tracker, Path(scratch))
        for run in reversed(waiting):
            by_stage, others = _time(restorer, run)
            busy.append(others)
            _keep(tracker, run, by_stage, others, sweep)
    show(*busy_warning(max(busy)))


def _time(restorer: RunRestorer, run: Logged) -> tuple[dict[str, dict[str, float]], float]:
    """Return the latency metrics per stage, and how many cores other work kept busy."""
    parts = restorer.parts(run)
    digests = [run.tags[f"{stage}/sha256"] for stage in run.stages]
    pairs = zip(run.stages, digests, strict=True)
    folders = [restorer.program(Candidate(run, stage, {}, digest)) for stage, digest in pairs]
    image = parts.dataset.example
    with Stopwatch(parts.timing.processes, parts.runtime.engine) as watch:
        timed = watch.time([(parts.runtime, folder) for folder in folders], image, parts.timing)
    figures = (latency.metrics() for latency in timed)
    return dict(zip(run.stages, figures, strict=True)), watch.busy_cores


def _keep(
    tracker: Tracker, run: Logged, by_stage: dict[str, dict[str, float]], busy: float, sweep: Path
) -> None:
    """Log a run's figures, with the machine that they were taken on, and complete its result."""
    metrics = {"timing/busy_cores": busy, **rounded(by_stage[run.stages[-1]])}
    for stage, figures in by_stage.items():
        metrics |= {f"{stage}/{name}": value for name, value in figures.items()}
    rows: list[dict[str, Any]] = [
        {"stage": stage, **under(stage, run.metrics), **by_stage[stage]} for stage in run.stages
    ]
    where = {"cpu": machine.cpu_name(), "int8_instructions": machine.int8_instructions()}
    tags = {**where, "latency": DEFERRED, "mlflow.note.content": markdown(rows)}
    tracker.resume(run.id, sweep).log(metrics=metrics, tags=tags)
    for file in sweep.glob(f"*/{RESULT}"):
        result = read_any_result(file.parent)
        if result.get("run_id") == run.id:
            timed = [{**row, **by_stage[row["stage"]]} for row in result["rows"]]
            write_result(file.parent, {**result, "rows": timed})
