"""Runs that were deleted in MLflow, which keeps their rows and files until somebody removes them.

What `mlflow gc` does, but for files that another run or a registered model still needs: a sweep
keeps an early stage's file once, in the first run that made it.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paredown.tracking.contact import connect
from paredown.tracking.database import file_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST = 50_000  # runs, as many as MLflow takes at once


@dataclass(frozen=True)
class KeptRun:
    """A run with its files.

    Args:
        id, name: Of the run.
        folder: Of its files, beside the database; None: they are elsewhere, and are left alone.
        bytes: Of its files.
        deleted: Whether somebody has deleted it in MLflow.
        needed: Whether a run that is not deleted, or a registered model, has a file in it.
    """

    id: str
    name: str
    folder: Path | None
    bytes: int
    deleted: bool
    needed: bool


def kept_runs(uri: str) -> list[KeptRun]:
    """List the runs of a SQLite store that is there, those of deleted experiments too."""
    from mlflow.entities import ViewType

    client, root = connect(uri), file_of(uri).parent
    every = [listed.experiment_id for listed in client.search_experiments(view_type=ViewType.ALL)]
    runs: Sequence[Any] = client.search_runs(every, run_view_type=ViewType.ALL, max_results=MOST)
    needed = _needed(client, [run for run in runs if run.info.lifecycle_stage == "active"])
    listed = []
    for run in runs:
        folder = root / run.info.run_id
        own = run.info.artifact_uri in (f"{folder.as_uri()}/artifacts", f"{folder}/artifacts")
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) * own
        deleted = run.info.lifecycle_stage == "deleted"
        is_needed = run.info.run_id in needed
        place = folder if own else None
        listed.append(KeptRun(run.info.run_id, run.info.run_name, place, size, deleted, is_needed))
    return listed


def _needed(client: "MlflowClient", active: Sequence[Any]) -> set[str]:
    """List the ids of runs that active runs and registered models take files from."""
    places = [
        place
        for run in active
        for name, value in run.data.tags.items()
        if name.endswith("/file")
        for place in value.split(",")
    ]
    ids = {place.removeprefix("runs:/").partition("/")[0] for place in places}
    return ids | {str(version.run_id) for version in client.search_model_versions()}


def remove(uri: str, runs: Sequence[KeptRun]) -> None:
    """Remove deleted runs of `kept_runs` for good, files first; those that are needed stay."""
    store = connect(uri)._tracking_client.store  # as `mlflow gc` does: no public call removes runs
    for run in runs:
        if run.deleted and not run.needed:
            if run.folder is not None:
                shutil.rmtree(run.folder, ignore_errors=True)
            store._hard_delete_run(run.id)
