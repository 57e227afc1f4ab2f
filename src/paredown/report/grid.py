"""The picture of a finished grid of jobs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paredown.pictures.grid import Point, grid_picture
from paredown.report.jobs import FINISHED, one_baseline
from paredown.studies.contract import settings

GROUPS = ("dataset", "model", "technique", "runtime")  # groups that a title names


def draw_grid(jobs: Sequence[Mapping[str, Any]], choices: Mapping[str, Any], file: Path) -> bool:
    """Draw the finished jobs of a grid as a PNG; return whether there was something to draw.

    Args:
        jobs: As their result files have them.
        choices: Option by config group, of the command without what is swept.
        file: To write.
    """
    finished = [job for job in jobs if job["status"] == FINISHED]
    same = set.intersection(*(set(job["overrides"]) for job in finished)) if finished else set()
    points = [
        Point(
            settings(text for text in job["overrides"] if text not in same),
            job["rows"][-1],
            job["rows"][0],
        )
        for job in finished
    ]
    swept = {name for point in points for name in point.settings}
    fixed = {**choices, **settings(same)}
    names = [str(fixed[group]) for group in GROUPS if group in fixed and group not in swept]
    return grid_picture(points, ", ".join(names), one_baseline(finished), file)
