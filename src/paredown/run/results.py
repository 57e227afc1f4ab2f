"""The file that every job leaves in its folder, so that results outlive a tracking server."""

import json
import logging
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

RESULT = "result.json"
FRONT = "front.json"
PARENT, TRIAL, VERSION = "tracking.parent=", "tracking.trial=", "tracking.version="
OVER_BUDGET = "OVER_BUDGET"  # a status: nothing was trained, the file would miss the budget


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write a job's result: overrides, status, and its rows or its error.

    Args:
        folder: The job's own; made again if it went.
        result: Plain data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULT, result)


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write plain data so that a file is there as a whole, or as it was before."""
    partial = file.with_name(f".{file.name}")
    with partial.open("w") as out:
        out.write(json.dumps(content, indent=1) + "\n")
        out.flush()
        os.fsync(out.fileno())  # else a machine that loses power may keep the name alone
    partial.rename(file)


def read_json(file: Path) -> dict[str, Any]:
    """Read plain data; empty if the file is not there, or is not whole."""
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s); it counts as not there", file, error)
        return {}
    return content if isinstance(content, dict) else {}


def read_any_result(folder: Path) -> dict[str, Any]:
    """Read the result of a job, however it ended; empty if it left none that is whole."""
    result = read_json(folder / RESULT)
    return result if isinstance(result.get("status"), str) else {}


def read_result(folder: Path) -> dict[str, Any]:
    """Read the result of a job that finished in this folder before; empty if none did."""
    result = read_any_result(folder)
    return result if result.get("status") == "FINISHED" else {}


def own_overrides(overrides: Iterable[str]) -> list[str]:
    """List what a person asked of a job, without what the sweep added."""
    return [text for text in overrides if not text.startswith((PARENT, TRIAL, VERSION))]


def titled(stage: str, note: str) -> str:
    """Name a stage in a table: its name, and what has to be said beside it."""
    return f"{stage} ({note})" if note else stage


def where_line(conditions: Mapping[str, str]) -> str:
    """Return the line below a table that says what its figures hold for; empty if unknown.

    Args:
        conditions: As a run's tags have them.
    """
    names = ("cpu", "int8_instructions", "runtime", "made_by")
    if not all(name in conditions for name in names):
        return ""
    return "where:   {cpu} with {int8_instructions}; {runtime}; {made_by}".format(**conditions)


def rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    """Round metrics as far as their 95 % intervals carry: two digits of the half width.

    No more than four digits are left, also of what has no interval; counts stay whole.
    """
    found = {}
    for name, value in metrics.items():
        figure = name.removesuffix("_low").removesuffix("_high")
        ends = [metrics.get(f"{figure}{end}", value) for end in ("_low", "_high")]
        half = (ends[1] - ends[0]) / 2
        scale = max(half, abs(value) / 100)
        whole = float(value).is_integer() or not math.isfinite(value)
        found[name] = value if whole else round(value, 1 - math.floor(math.log10(scale)))
    return found


def read_results(sweep: Path) -> list[dict[str, Any]]:
    """Read the results of a sweep's jobs, in the order of their numbers, each with its `number`."""
    jobs = []
    for file in sweep.glob(f"*/{RESULT}"):
        result = read_any_result(file.parent) if file.parent.name.isdigit() else {}
        if result:
            jobs.append({"number": int(file.parent.name), **result})
    return sorted(jobs, key=lambda job: int(job["number"]))
