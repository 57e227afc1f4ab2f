"""Find sweeps, download files and register models in MLflow."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from paredown.errors import ConfigError, first_line
from paredown.host import machine
from paredown.tracking.contact import connection_errors
from paredown.tracking.tags import SWEEP

if TYPE_CHECKING:
    from paredown.dataset import Batch
    from paredown.runtime import Logits
    from paredown.tracking.tracker import Named, Tracker

ALIAS = "deploy"
MOST = 8  # sweeps that are named to choose from


def find_sweep(tracker: "Tracker", reference: str | int, key: str) -> "Named":
    """Find the run of a sweep by its id, folder, name, or number; the oldest sweep is 1.

    Raises:
        ConfigError: If the reference, the value of the setting `key`, names no sweep, or several.
    """
    sweeps = tracker.tagged(SWEEP)
    reference = str(reference)
    folder = str(Path(reference).expanduser().absolute())
    numbers = {str(number): run for number, run in enumerate(reversed(sweeps), 1)}
    meant = (
        [run for run in sweeps if run.id == reference]
        or [run for run in sweeps if run.value == folder]
        or [run for run in sweeps if run.name == reference]
        or [run for number, run in numbers.items() if number == reference]
    )
    if len(meant) != 1:
        listed = [(number, run) for number, run in numbers.items() if not meant or run in meant]
        choices = ", ".join(f"{number} ({run.name}, {run.value})" for number, run in listed[-MOST:])
        older = len(listed) - len(listed[-MOST:])
        choices += f" and {older} older ones" if older else ""
        raise ConfigError(
            f"{key} must be one of {choices or 'none, no sweep is here'}, got {reference!r}"
        )
    return meant[0]


def fetch(tracker: "Tracker", run_id: str, path: str, folder: Path) -> Path:
    """Download a file of a run into a folder, which exists.

    Raises:
        ConfigError: If the file is not there any more.
    """
    try:
        return Path(tracker.client.download_artifacts(run_id, path, str(folder)))
    except connection_errors() as error:
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
    """Register an .onnx file, let the alias `deploy` point to it, and return its version.

    The source is the id of the run, which keeps the model, and the name of the stage; the example
    is normalized images, (N, C, H, W), and the logits of the file, (N, classes).

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
        version = client.create_model_version(name, f"runs:/{run_id}/{place}", run_id, tags=plain)
        client.set_registered_model_alias(name, ALIAS, version.version)
    except (MlflowException, OSError) as error:
        reason = f"got {first_line(error)}; the bundle is there all the same"
        raise ConfigError(f"pick.name must be one that MLflow registers, {reason}") from error
    return int(version.version)


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
