"""The file that every job leaves in its folder, so that results outlive a tracking server."""

import json
import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from paredown.host.files import write_atomically

log = logging.getLogger(__name__)

RESULT = "result.json"
FRONT = "front.json"
PARENT, TRIAL, VERSION = "tracking.parent=", "tracking.trial=", "tracking.version="
OVER_BUDGET = "OVER_BUDGET"  # a status: nothing was trained, the file would miss the budget

Row = dict[str, Any]
"""A variant: its stage, its note and its metrics by name."""


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write a job's result (overrides, status, and rows or an error) into the job's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULT, result)


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write plain data; the file is there as a whole, or as it was before."""
    text = json.dumps(content, indent=1) + "\n"
    write_atomically(file, lambda partial: partial.write_text(text))


def read_json(file: Path) -> dict[str, Any]:
    """Read plain data; empty if the file is missing or damaged."""
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s); it counts as missing", file, error)
        return {}
    return content if isinstance(content, dict) else {}


def read_any_result(folder: Path) -> dict[str, Any]:
    """Read the result of a job, however it ended; empty if it is missing or damaged."""
    result = read_json(folder / RESULT)
    return result if isinstance(result.get("status"), str) else {}


def read_result(folder: Path) -> dict[str, Any]:
    """Read the result of a job that finished in this folder; empty if none did."""
    result = read_any_result(folder)
    return result if result.get("status") == "FINISHED" else {}


def read_results(sweep: Path) -> list[dict[str, Any]]:
    """Read the results of a sweep's jobs, each with its `number`, in that order."""
    jobs = []
    for file in sweep.glob(f"*/{RESULT}"):
        result = read_any_result(file.parent) if file.parent.name.isdigit() else {}
        if result:
            jobs.append({"number": int(file.parent.name), **result})
    return sorted(jobs, key=lambda job: int(job["number"]))


def own_overrides(overrides: Iterable[str]) -> list[str]:
    """List the overrides of a job without those that its sweep added."""
    return [text for text in overrides if not text.startswith((PARENT, TRIAL, VERSION))]


def titled(stage: str, note: str) -> str:
    """Name a stage in a table, with its note in brackets."""
    return f"{stage} ({note})" if note else stage


def where_line(conditions: Mapping[str, str]) -> str:
    """Return the line below a table on machine and runtime; empty if a run's tags lack them."""
    names = ("cpu", "int8_instructions", "runtime", "made_by")
    if not all(name in conditions for name in names):
        return ""
    return "where:   {cpu} with {int8_instructions}; {runtime}; {made_by}".format(**conditions)


def rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    """Round metrics as far as their 95 % intervals carry: two digits of the half width.

    At most four digits are left, also without an interval; counts stay whole.
    """
    result = {}
    for name, value in metrics.items():
        metric = name.removesuffix("_low").removesuffix("_high")
        low, high = (metrics.get(f"{metric}{end}", value) for end in ("_low", "_high"))
        step = max((high - low) / 2, abs(value) / 100)
        is_count = float(value).is_integer() or not math.isfinite(value)
        result[name] = value if is_count else round(value, 1 - math.floor(math.log10(step)))
    return result
