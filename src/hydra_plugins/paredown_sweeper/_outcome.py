"""Outcome of a job: its metrics, or its error."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from paredown.errors import first_line
from paredown.run.results import OVER_BUDGET, RESULT, read_any_result

Metrics = dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """Outcome of a job.

    Args:
        metrics: Of the file that ships, the finite ones; without accuracy if it is untrained.
        baseline: The same of the job's first row; empty if it has one row only.
        error: Why the job is of no use; None: it is.
        untrained: The file would miss the budget, so nothing was trained.
        seconds: What the job took; None: it did not say.
    """

    metrics: Metrics = field(default_factory=dict)
    baseline: Metrics = field(default_factory=dict)
    error: str | None = None
    untrained: bool = False
    seconds: float | None = None


def outcome_of(job: JobReturn, objectives: Iterable[str]) -> Outcome:
    """Read what a job left in its folder; without a file there, take what it returned."""
    if job.status is JobStatus.FAILED:
        error = job._return_value  # the property prints, and raises
        return Outcome(error=first_line(error))
    assert job.hydra_cfg is not None
    folder, returned = Path(job.hydra_cfg.hydra.runtime.output_dir), job.return_value
    if read_any_result(folder) or not isinstance(returned, Mapping):
        return read_outcome(folder, objectives)
    if "status" in returned:  # the job's folder is on another machine
        return _read(returned, objectives)
    return _checked([returned], objectives)


def read_outcome(folder: Path, objectives: Iterable[str]) -> Outcome:
    """Read the result in a job's folder; an error if it left none that is whole."""
    result = read_any_result(folder)
    if not result:
        return Outcome(error=f"the job left no {RESULT} in {folder}")
    return _read(result, objectives)


def _read(result: Mapping[str, Any], objectives: Iterable[str]) -> Outcome:
    seconds = result.get("seconds")
    if result["status"] == OVER_BUDGET:
        return Outcome(_numbers(result["rows"][-1]), untrained=True, seconds=seconds)
    if result["status"] != "FINISHED":
        return Outcome(error=str(result.get("error", result["status"])))
    return replace(_checked(result["rows"], objectives), seconds=seconds)


def _checked(rows: list[Mapping[str, Any]], objectives: Iterable[str]) -> Outcome:
    for name in objectives:
        value = rows[-1].get(name)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return Outcome(error=f"{name} is {value}")
    return Outcome(_numbers(rows[-1]), _numbers(rows[0]) if len(rows) > 1 else {})


def _numbers(row: Mapping[str, Any]) -> Metrics:
    return {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
