"""The file that every job leaves in its folder, so that results outlive a tracking server."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

RESULT = "result.json"
FRONT = "front.json"
PARENT, TRIAL, VERSION = "tracking.parent=", "tracking.trial=", "tracking.version="
DEFERRED = "deferred"  # of measure.latency: the sweep takes it when its jobs are done
OVER_BUDGET = "OVER_BUDGET"  # a status: nothing was trained, the file would miss the budget


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write a job's result: overrides, status, and its rows or its error.

    Args:
        folder: The job's own.
        result: Plain data.
    """
    partial = folder / f".{RESULT}"
    partial.write_text(json.dumps(result, indent=1) + "\n")
    partial.rename(folder / RESULT)


def read_result(folder: Path) -> dict[str, Any]:
    """Read the result of a job that finished in this folder before; empty if none did."""
    file = folder / RESULT
    result: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return result if result.get("status") == "FINISHED" else {}


def own_overrides(overrides: Iterable[str]) -> list[str]:
    """List what a person asked of a job, without what the sweep added."""
    return [text for text in overrides if not text.startswith((PARENT, TRIAL, VERSION))]


def titled(stage: str, note: str) -> str:
    """Name a stage in a table: its name, and what has to be said beside it."""
    return f"{stage} ({note})" if note else stage


def read_results(sweep: Path) -> list[dict[str, Any]]:
    """Read the results of a sweep's jobs, in the order of their numbers, each with its `number`."""
    jobs = []
    for file in sweep.glob(f"*/{RESULT}"):
        if file.parent.name.isdigit():
            jobs.append({"number": int(file.parent.name), **json.loads(file.read_text())})
    return sorted(jobs, key=lambda job: int(job["number"]))
