"""The commands as a user types them, on settings that take seconds, and what they logged."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALL = (  # seconds, not minutes; real all the same
    "model=cnn4",
    "model.width=8",
    "model@student=cnn4",
    "student.width=4",
    "training.epochs=1",
    "prune.epochs=1",
    "prune.round_to=8",
    "measure.processes=1",
    "measure.rounds=1",
)


def paredown(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run run.py in `folder`, with a store and an MLflow database of its own there."""
    if not any("store.folder" in argument for argument in arguments):
        arguments = (*arguments, f"store.folder={folder / 'store'}")
    command = [sys.executable, str(ROOT / "run.py"), *arguments]
    environment = {**os.environ, "COLUMNS": "140"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def runs_of(folder: Path) -> list:
    """List the runs that commands in `folder` logged, in order."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    ids = [client.get_experiment_by_name("paredown").experiment_id]
    return client.search_runs(ids, order_by=["attributes.start_time"])
