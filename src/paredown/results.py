"""The file that every job leaves in its folder, so that results outlive a tracking server."""

import json
from pathlib import Path
from typing import Any

RESULT = "result.json"


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write a job's result: overrides, status, and its rows or its error.

    Args:
        folder: The job's own.
        result: Plain data.
    """
    partial = folder / f".{RESULT}"
    partial.write_text(json.dumps(result, indent=1) + "\n")
    partial.rename(folder / RESULT)


def read_results(sweep: Path) -> list[dict[str, Any]]:
    """Read the results of a sweep's jobs, in the order of their numbers, each with its `number`."""
    jobs = []
    for file in sweep.glob(f"*/{RESULT}"):
        if file.parent.name.isdigit():
            jobs.append({"number": int(file.parent.name), **json.loads(file.read_text())})
    return sorted(jobs, key=lambda job: int(job["number"]))
