"""What every run leaves behind in MLflow; the only room that imports mlflow."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from paredown.config import typed
from paredown.errors import ConfigError, install_command, require, require_one_of
from paredown.host.retry import retry_until
from paredown.metric import MAXIMIZE, QUALITY
from paredown.printable import hide_passwords
from paredown.tracking import view
from paredown.tracking.contact import connect, is_away, ping, prepare, refusal, retry_once
from paredown.tracking.database import SQLITE, canonical, file_of, make_whole
from paredown.tracking.tracker import Tracker

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Tracking:
    """Where runs are logged.

    Args:
        uri: Of a tracking server, or `sqlite:///<file>`; a relative file counts from here.
        experiment: Its name; made at the first run.
        parent: Id of the run of the sweep that this run belongs to; a sweep sets it itself.
        trial: Number of the search's trial that this run is; a search sets it itself.
        version: Of the Paredown that launched this run, as `keys.version` names it; a sweep sets it
            itself, so that a worker of another version refuses.
    """

    uri: str
    experiment: str
    parent: str | None
    trial: int | None
    version: str | None = None

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
        return canonical(self.uri) if self.uri.startswith(SQLITE) else self.uri

    def connect(self) -> "Tracker":
        """Open the store and the experiment, made if they are not there.

        Raises:
            ConfigError: If the store cannot be reached or made.
        """
        uri = self.absolute_uri

        def touch() -> Tracker:
            with self._locked_store() as artifacts:
                client = connect(uri)
                return Tracker(client, self._experiment(client, artifacts), uri)

        with self.answering():
            ping(uri)
            if not uri.startswith("http"):
                tracker = retry_once(touch)
            else:  # fail at once for a person; the jobs of a sweep can wait
                waits = self.parent is not None
                tracker = retry_until(touch, is_away, "the tracking server") if waits else touch()
            tracker.tidy()
        return tracker

    def visit(self) -> "Tracker":
        """Open a store and an experiment that are there, to read them; nothing is made.

        Raises:
            ConfigError: If they are not there, or do not answer.
        """
        uri, hint = self.absolute_uri, f"{typed('run')} makes one"
        if uri.startswith(SQLITE):
            there = _is_sqlite(file_of(uri))
            require(there, "tracking.uri", "name a store that is there", self.uri, hint)
        with self.answering():
            ping(uri)
            client = connect(uri)
            known = {
                experiment.name: experiment.experiment_id
                for experiment in client.search_experiments()
            }
        require_one_of(known, "tracking.experiment", self.experiment)
        return Tracker(client, str(known[self.experiment]), uri)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Raise a one-line error where the store does not answer, or refuses.

        Raises:
            ConfigError: In its place.
        """
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        message = f"tracking.uri must name a store that answers, got {hide_passwords(self.uri)!r}"
        try:
            yield
        except (MlflowException, SQLAlchemyError) as error:
            raise ConfigError(f"{message}: {refusal(error)}") from error
        except ModuleNotFoundError as error:  # the driver of a database
            hint = install_command("postgresql") if error.name == "psycopg" else ""
            raise ConfigError(f"{message}: {error}; {hint}") from error

    @contextmanager
    def _locked_store(self) -> Iterator[str | None]:
        """Hold a lock while a local database is created: MLflow does not lock its own tables.

        Yields the absolute folder for artifacts beside a SQLite store, None for a server.
        """
        from filelock import FileLock

        if not self.absolute_uri.startswith(SQLITE):
            yield None
            return
        folder = file_of(self.absolute_uri).parent
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".first-touch.lock"):
            prepare()
            make_whole(self.absolute_uri)
            yield folder.as_uri()

    def _experiment(self, client: "MlflowClient", artifacts: str | None) -> str:
        from mlflow.exceptions import MlflowException

        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None:
            tags = {
                "mlflow.experimentKind": "custom_model_development",
                "mlflow.experiment.primaryMetric.name": QUALITY.name,
                "mlflow.experiment.primaryMetric.greaterIsBetter": str(
                    QUALITY.direction == MAXIMIZE
                ),
                view.TAG: view.view(),
            }
            try:
                return str(client.create_experiment(self.experiment, artifacts, tags))
            except MlflowException:  # another process on the same server was faster
                experiment = client.get_experiment_by_name(self.experiment)
                if experiment is None:
                    raise
        require(
            experiment.lifecycle_stage == "active",
            "tracking.experiment",
            "be one that is not deleted",
            self.experiment,
            "restore it or take another name",
        )
        if experiment.tags.get(view.TAG) != view.view():  # somebody else's, or older
            client.set_experiment_tag(experiment.experiment_id, view.TAG, view.view())
        return str(experiment.experiment_id)


def _is_sqlite(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as content:
        return content.read(15) == b"SQLite format 3"


def as_params(choices: Mapping[str, Any], nodes: Mapping[str, Any]) -> dict[str, object]:
    """Flatten options by group and plain values of nodes into params, named as overrides are.

    MLflow takes no @ in a name, so the option of model@student is the param student.
    """
    chosen = {group: option for group, option in choices.items() if option is not None}
    params: dict[str, object] = {group.split("@")[-1]: option for group, option in chosen.items()}
    for key, value in nodes.items():
        if isinstance(value, Mapping):
            inner = {f"{key}.{name}": inner for name, inner in value.items()}
            params |= as_params({}, inner)
        elif not key.endswith("._target_") and not (isinstance(value, str) and "${" in value):
            params[key] = value
    return params
