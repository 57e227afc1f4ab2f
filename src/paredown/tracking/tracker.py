"""One experiment of one MLflow store: opens runs, finds them, closes what died."""

import contextlib
import logging
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from paredown.errors import first_line
from paredown.host.process import MACHINE, died, owner, user_name
from paredown.printable import hide_passwords
from paredown.run.results import OVER_BUDGET, where_line
from paredown.tracking.contact import connection_errors, retry_once
from paredown.tracking.reader import Logged, read, under
from paredown.tracking.run import Run, file_tag, upload_command
from paredown.tracking.tags import (
    COMMAND,
    ERROR,
    HOST,
    JOB,
    NOTE,
    ON_MACHINE,
    OVER,
    PARENT,
    PID,
    STAGES,
    STARTED,
)
from paredown.tracking.view import link

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

Tags = Mapping[str, str]


@dataclass(frozen=True)
class Named:
    """A run and the value of one of its tags."""

    id: str
    name: str
    value: str


class Tracker:
    """One experiment of one MLflow store."""

    def __init__(self, client: "MlflowClient", experiment_id: str, uri: str) -> None:
        self.client = client
        self.experiment_id = experiment_id
        self.uri = uri

    @contextmanager
    def run(
        self, name: str, folder: Path, parent: str | None = None, tags: Tags | None = None
    ) -> Iterator[Run]:
        """Open a run; it ends FINISHED, FAILED on an exception, KILLED on an interruption.

        The job's folder keeps what the store cannot take, see `Run`; the parent is the id of the
        sweep's run.
        """
        run = self.start(name, folder, parent, tags)
        try:
            yield run
        except Exception as error:
            run.log(tags={ERROR: first_line(error)})
            run.end("FAILED")
            raise
        except BaseException:
            run.end("KILLED")
            raise
        run.end("FINISHED")

    def start(
        self, name: str, folder: Path, parent: str | None = None, tags: Tags | None = None
    ) -> Run:
        """Open a run, tagged with the process that owns it."""
        own = {"mlflow.user": user_name(), "mlflow.source.name": "run.py", **_owner()}
        optional = {"mlflow.source.git.commit": git_commit(), PARENT: parent}
        own |= {name: value for name, value in optional.items() if value}
        tags = {**own, **(tags or {})}
        created = retry_once(
            lambda: self.client.create_run(self.experiment_id, run_name=name, tags=tags)
        )
        return Run(self.client, created.info.run_id, self.uri, folder)

    def reopen(self, tag: str, value: str, folder: Path) -> Run | None:
        """Go on with the run that carries a tag, if there is one; it is RUNNING again."""
        runs = [run for run in self._tagged_as(tag, value) if run.data.tags[tag] == value]
        if not runs:
            return None
        run = Run(self.client, runs[0].info.run_id, self.uri, folder)
        self.client.update_run(run.id, status="RUNNING")
        run.log(tags=_owner())
        return run

    def resume(self, run_id: str, folder: Path) -> Run:
        """Log more to a run that has ended; its status stays."""
        return Run(self.client, run_id, self.uri, folder)

    def has(self, run_id: str) -> bool:
        """Return whether the store knows a run, and has not deleted it."""
        from mlflow.exceptions import MlflowException

        try:
            return bool(self.client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException:
            return False

    def tidy(self) -> None:
        """Close runs that a process of this host left RUNNING when it died."""
        host = socket.gethostname()
        for run in self._search(f"attributes.status = 'RUNNING' and tags.`{HOST}` = '{host}'"):
            if died(_read_owner(run.data.tags)):
                log.info("closing run %s, left by a process that died", run.info.run_name)
                with contextlib.suppress(*connection_errors()):  # deleted meanwhile
                    self.client.set_terminated(run.info.run_id, "KILLED")

    def where(self, run: Run) -> list[str]:
        """Return where a run's files are, or the command that uploads those not sent."""
        if run.unsent is not None:
            return [
                f"files:   {run.unsent.parent}",
                f"upload:  {upload_command(run.unsent.parent, self.uri)}",
            ]
        files = self.client.get_run(run.id).info.artifact_uri
        plain = unquote(files.removeprefix("file://")) if files.startswith("file://") else files
        return [f"files:   {plain}"]

    def compare(self) -> list[str]:
        """Return how to open the experiment's runs in a browser."""
        if self.uri.startswith("http"):
            return [f"compare: {link(hide_passwords(self.uri), self.experiment_id)}"]
        return [
            f"compare: mlflow ui --backend-store-uri {shlex.quote(hide_passwords(self.uri))}",
            f"         and open {link('http://127.0.0.1:5000', self.experiment_id)}",
        ]

    def finished(self, parent: str | None = None) -> list[Logged]:
        """List the finished jobs of a sweep's run, or of the experiment, the newest first."""
        return read(self.client, self.uri, self.experiment_id, parent)

    def jobs(self, parent: str) -> list[dict[str, Any]]:
        """List the jobs of a sweep's run in the form of their result files."""
        runs = self._search(f"tags.`{PARENT}` = '{parent}'", limit=50_000)
        return [_result(run) for run in runs if JOB in run.data.tags]

    def tagged(self, tag: str) -> list[Named]:
        """List the runs that carry a tag, the newest first."""
        runs = self._search(f"tags.`{tag}` != ''", limit=50_000)  # as many as MLflow takes
        return [Named(run.info.run_id, run.info.run_name, run.data.tags[tag]) for run in runs]

    def text(self, run_id: str, name: str) -> str | None:
        """Read a text that a run keeps as a file; None if it keeps none of this name."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                return Path(self.client.download_artifacts(run_id, name, folder)).read_text()
            except connection_errors():
                return None

    def place_of(self, sha256: str) -> str | None:
        """Find where a run of this experiment keeps the file with this sha256: `runs:/…`."""
        tag = file_tag(sha256)
        try:
            runs = self._search(f"tags.`{tag}` != ''", limit=1)
        except connection_errors():  # then this run keeps it, too
            return None
        return f"runs:/{runs[0].info.run_id}/{runs[0].data.tags[tag]}" if runs else None

    def _tagged_as(self, tag: str, value: str) -> Sequence[Any]:
        """Find runs by a tag's value; of one that a filter cannot hold all that have the tag."""
        if any(mark in value for mark in "'\"\\"):
            return self._search(f"tags.`{tag}` != ''", limit=50_000)
        return self._search(f"tags.`{tag}` = '{value}'", limit=1)

    def _search(self, condition: str, limit: int = 1000) -> Sequence[Any]:
        runs: Sequence[Any] = self.client.search_runs(
            [self.experiment_id], condition, max_results=limit
        )
        return runs


def _result(run: Any) -> dict[str, Any]:
    """Read a job's result from its run, as `results.write_result` has it."""
    tags, metrics = run.data.tags, run.data.metrics
    result: dict[str, Any] = {
        "number": int(tags[JOB]),
        "run_id": run.info.run_id,
        "status": run.info.status,
        "overrides": shlex.split(tags.get(COMMAND, ""))[2:],
    }
    if OVER in tags:
        return {**result, "status": OVER_BUDGET, "error": tags[OVER]}
    if ERROR in tags:
        return {**result, "error": tags[ERROR]}
    if run.info.status != "FINISHED" or STAGES not in tags:
        return {**result, "error": "it did not come to its end"}
    stages = tags[STAGES].split(",")
    rows = [
        {"stage": stage, "note": tags.get(f"{stage}/{NOTE}", ""), **under(stage, metrics)}
        for stage in stages
    ]
    return {**result, "rows": rows, "eager": under("eager", metrics), "where": where_line(tags)}


def _owner() -> dict[str, str]:
    """Tag a run with the process that owns it."""
    who = owner()
    start = f"{who['started']:.2f}"
    return {HOST: who["host"], PID: str(who["pid"]), STARTED: start, ON_MACHINE: who[MACHINE]}


def _read_owner(tags: Tags) -> dict[str, Any]:
    """Read the owner that a run's tags name; a pid of 0 runs nowhere."""
    start = float(tags.get(STARTED, 0))
    who = {"host": tags[HOST], "pid": int(tags.get(PID, 0)), "started": start}
    return {**who, MACHINE: tags.get(ON_MACHINE)}


def git_commit() -> str | None:
    """Name the commit of the folder we stand in, with -dirty after it if files are changed."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # git is not installed, or the folder we stand in is gone
        return None
    return answer.stdout.strip() or None
