"""What every run leaves behind in MLflow; the only importer of mlflow."""

import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from paredown.config import ConfigError, require

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

# A tracking server that does not answer is given up after seconds, not after MLflow's 4 minutes.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass(frozen=True)
class Tracking:
    """Where runs are logged.

    Args:
        uri: Of a tracking server, or `sqlite:///<file>`; a relative file counts from here.
        experiment: Its name; made at the first run.
        parent: Id of the run of the sweep that this run belongs to; a sweep sets it itself.
    """

    uri: str
    experiment: str
    parent: str | None

    def __post_init__(self) -> None:
        scheme = urlparse(self.uri).scheme
        known = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
        require(
            scheme.split("+")[0] in known,
            "uri",
            "start with http, https, sqlite or another database's scheme",
            self.uri,
            "sqlite:///mlruns/mlflow.db is the default",
        )
        require(bool(self.experiment.strip()), "experiment", "be a name", self.experiment)

    @property
    def absolute_uri(self) -> str:
        """The uri, with the file of a SQLite store made absolute."""
        prefix = "sqlite:///"
        if not self.uri.startswith(prefix):
            return self.uri
        return prefix + str(Path(self.uri.removeprefix(prefix)).absolute())

    def connect(self) -> "Tracker":
        """Open the store and the experiment, made if they are not there.

        Raises:
            ConfigError: If the store cannot be reached or made.
        """
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        for chatty in ("alembic", "mlflow"):  # after the import, which sets them to INFO
            logging.getLogger(chatty).setLevel(logging.WARNING)

        uri = self.absolute_uri
        try:
            with self._first_touch() as artifacts:
                client = MlflowClient(tracking_uri=uri)
                return Tracker(client, self._experiment(client, artifacts), uri)
        except MlflowException as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"tracking.uri must name a store that answers, got {self.uri!r}: {reason}"
            ) from error

    @contextmanager
    def _first_touch(self) -> Iterator[str | None]:
        """Hold a lock while a local database is made: MLflow does not lock its own tables.

        Gives the absolute folder for artifacts beside a SQLite store, None for a server.
        """
        from filelock import FileLock

        if not self.absolute_uri.startswith("sqlite:///"):
            yield None
            return
        folder = Path(self.absolute_uri.removeprefix("sqlite:///")).parent
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".first-touch.lock"):
            yield folder.as_uri()

    def _experiment(self, client: "MlflowClient", artifacts: str | None) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            tags = {
                "mlflow.experimentKind": "custom_model_development",
                "mlflow.experiment.primaryMetric.name": "accuracy",
                "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
            }
            try:
                return str(client.create_experiment(self.experiment, artifacts, tags))
            except MlflowException:  # another process on the same server was faster
                found = client.get_experiment_by_name(self.experiment)
                if found is None:
                    raise
        require(
            found.lifecycle_stage == "active",
            "tracking.experiment",
            "be one that is not deleted",
            self.experiment,
            "restore it or take another name",
        )
        return str(found.experiment_id)


class Tracker:
    """One experiment of one MLflow store."""

    def __init__(self, client: "MlflowClient", experiment_id: str, uri: str) -> None:
        self.client = client
        self.experiment_id = experiment_id
        self.uri = uri

    @contextmanager
    def run(
        self, name: str, parent: str | None = None, tags: Mapping[str, str] | None = None
    ) -> Iterator["Run"]:
        """Open a run; it ends FINISHED, FAILED on an exception, KILLED on an interruption."""
        run = self.start(name, parent, tags)
        try:
            yield run
        except Exception:
            self.end(run.id, "FAILED")
            raise
        except BaseException:
            self.end(run.id, "KILLED")
            raise
        self.end(run.id, "FINISHED")

    def start(self, name: str, parent: str | None, tags: Mapping[str, str] | None) -> "Run":
        """Open a run, tagged with the process that owns it."""
        own = {
            "mlflow.user": os.environ.get("USER", "unknown"),
            "mlflow.source.name": "run.py",
            "paredown.host": socket.gethostname(),
            "paredown.pid": str(os.getpid()),
        }
        if commit := git_commit():
            own["mlflow.source.git.commit"] = commit
        if parent is not None:
            own["mlflow.parentRunId"] = parent
        created = self.client.create_run(
            self.experiment_id, run_name=name, tags={**own, **(tags or {})}
        )
        return Run(self.client, created.info.run_id)

    def end(self, run_id: str, status: str) -> None:
        """Close a run as FINISHED, FAILED or KILLED."""
        self.client.set_terminated(run_id, status)

    def where(self, run: "Run") -> list[str]:
        """Say where a run's files are, and the command that shows it in a browser."""
        files = self.client.get_run(run.id).info.artifact_uri
        ui = f"mlflow ui --backend-store-uri {self.uri}"
        if self.uri.startswith("http"):
            ui = f"open {self.uri}"
        return [f"files:   {files.removeprefix('file://')}", f"compare: {ui}"]

    def holder_of(self, sha256: str) -> str | None:
        """Find a run of this experiment that keeps the file with this sha256."""
        found = self.client.search_runs(
            [self.experiment_id], f"tags.`{_file_tag(sha256)}` != ''", max_results=1
        )
        return str(found[0].info.run_id) if found else None


class Run:
    """One MLflow run."""

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self._client = client
        self.id = run_id

    def log(
        self,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log values without steps."""
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        values = [Metric(key, float(value), now, 0) for key, value in (metrics or {}).items()]
        settings = [Param(key, str(value)) for key, value in (params or {}).items()]
        marks = [RunTag(key, value) for key, value in (tags or {}).items()]
        self._client.log_batch(self.id, metrics=values, params=settings, tags=marks)

    def log_curves(self, stage: str, curves: Sequence[Mapping[str, float]]) -> None:
        """Log what training measured, one step an epoch, under train/<stage>/."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        values = [
            Metric(f"train/{stage}/{name}", float(value), now, epoch)
            for epoch, point in enumerate(curves, start=1)
            for name, value in point.items()
        ]
        for at in range(0, len(values), 1000):  # MLflow's limit of a batch
            self._client.log_batch(self.id, metrics=values[at : at + 1000])

    def log_text(self, text: str, name: str) -> None:
        """Keep a text as a file of the run."""
        self._client.log_text(self.id, text, name)

    def keep(self, file: Path, stage: str, digest: str) -> None:
        """Keep a file that ships, in a folder named by its stage, and tag this run its holder."""
        self._client.log_artifact(self.id, str(file), stage)
        self.log(tags={_file_tag(digest): f"{stage}/{file.name}"})


def git_commit() -> str | None:
    """Name the commit of the folder we stand in, with -dirty after it if files are changed."""
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


def _file_tag(sha256: str) -> str:
    return f"file.{sha256[:32]}"


def as_params(choices: Mapping[str, Any], nodes: Mapping[str, Any]) -> dict[str, object]:
    """Flatten what a person sweeps or compares into params, under their override's exact names.

    MLflow takes no @ in a name, so the option of model@student is the param student.

    Args:
        choices: Option by config group, such as model@student.
        nodes: Parts of the unresolved configuration by key; only plain values are taken.
    """
    chosen = {group: option for group, option in choices.items() if option is not None}
    found: dict[str, object] = {group.split("@")[-1]: option for group, option in chosen.items()}
    for key, value in nodes.items():
        if isinstance(value, Mapping):
            inner = {f"{key}.{name}": inner for name, inner in value.items()}
            found |= as_params({}, inner)
        elif not key.endswith("._target_") and not (isinstance(value, str) and "${" in value):
            found[key] = value
    return found
