"""What is taken from MLflow, and what is put back: sweeps, files, registered models."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from paredown.errors import ConfigError, first_line
from paredown.host import machine
from paredown.tracking.contact import lost_contact
from paredown.tracking.tags import SWEEP

if TYPE_CHECKING:
    from paredown.dataset import Batch
    from paredown.runtime import Logits
    from paredown.tracking.tracker import Named, Tracker

ALIAS = "deploy"
MOST = 8  # sweeps that are named to choose from


def find_sweep(tracker: "Tracker", asked: str | int, key: str) -> "Named":
    """Find the run of a sweep.

    Args:
        tracker: Its experiment is searched.
        asked: Id of the sweep's run, or its folder, the run's name, or its number: the oldest
            sweep is 1, so that a new one changes no other's.
        key: That asked.

    Raises:
        ConfigError: If none is meant, or several are.
    """
    sweeps = tracker.tagged(SWEEP)
    asked = str(asked)
    folder = str(Path(asked).expanduser().absolute())
    numbers = {str(number): each for number, each in enumerate(reversed(sweeps), 1)}
    meant = (
        [each for each in sweeps if each.id == asked]
        or [each for each in sweeps if each.value == folder]
        or [each for each in sweeps if each.name == asked]
        or [each for number, each in numbers.items() if number == asked]
    )
    if len(meant) != 1:
        listed = [(number, each) for number, each in numbers.items() if not meant or each in meant]
        told = ", ".join(f"{number} ({each.name}, {each.value})" for number, each in listed[-MOST:])
        older = len(listed) - len(listed[-MOST:])
        told += f" and {older} older ones" if older else ""
        raise ConfigError(f"{key} must be one of {told or 'none, no sweep is here'}, got {asked!r}")
    return meant[0]


def fetch(tracker: "Tracker", run_id: str, path: str, folder: Path) -> Path:
    """Copy a file that a run keeps.

    Args:
        tracker: Of the run.
        run_id: Of the run that keeps it.
        path: Of the file, within the run.
        folder: Where the copy goes; exists.

    Raises:
        ConfigError: If the file is not there any more.
    """
    try:
        return Path(tracker.client.download_artifacts(run_id, path, str(folder)))
    except lost_contact() as error:
        raise ConfigError(
            f"{path} of run {run_id} must still be in MLflow, got nothing from it; do that run "
            "again, or leave it out by pick.sweep or by deleting it"
        ) from error


def register(
    tracker: "Tracker",
    name: str,
    file: Path,
    source: tuple[str, str],
    example: tuple["Batch", "Logits"],
    threads: int,
    tags: Mapping[str, object],
) -> int:
    """Register an .onnx file, and let the alias `deploy` point to it.

    Args:
        tracker: Of the run that made it.
        name: Of the registered model; made if it is not there.
        file: The one that ships.
        source: Id of the run, and name of the stage; the run keeps the model.
        example: Normalized images, (N, C, H, W), and the logits of the file, (N, classes).
        threads: Of one inference.
        tags: Of the version: the budget, the figures.

    Returns:
        Number of the version.

    Raises:
        ConfigError: If the store does not take it.
    """
    from mlflow.exceptions import MlflowException

    client, (run_id, stage) = tracker.client, source
    place = f"{ALIAS}/{stage}"
    try:
        with TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            _save(file, folder, example, threads)
            client.log_artifacts(run_id, str(folder), place)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        plain = {key: str(value) for key, value in tags.items()}
        made = client.create_model_version(name, f"runs:/{run_id}/{place}", run_id, tags=plain)
        client.set_registered_model_alias(name, ALIAS, made.version)
    except (MlflowException, OSError) as error:
        reason = f"got {first_line(error)}; the bundle is there all the same"
        raise ConfigError(f"pick.name must be one that MLflow registers, {reason}") from error
    return int(made.version)


def _save(file: Path, folder: Path, example: tuple["Batch", "Logits"], threads: int) -> None:
    """Write the file in MLflow's ONNX flavor, pinned; MLflow would run pip to find that out."""
    images, logits = example
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mlflow.pyfunc, about type hints of its own
        import onnx
        from mlflow import onnx as flavor
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        def spec(batch: "Batch | Logits", called: str) -> Schema:
            return Schema([TensorSpec(np.dtype(np.float32), (-1, *batch.shape[1:]), called)])

        versions = machine.versions("mlflow", "numpy", "onnx", "onnxruntime")
        flavor.save_model(
            onnx.load(file),
            folder,
            signature=ModelSignature(spec(images, "images"), spec(logits, "logits")),
            input_example={"images": images},
            pip_requirements=[f"{package}=={version}" for package, version in versions.items()],
            onnx_execution_providers=["CPUExecutionProvider"],
            onnx_session_options={"intra_op_num_threads": threads},
            save_as_external_data=False,
        )
