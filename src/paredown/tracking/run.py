"""One MLflow run; its events are kept on disk while the store does not answer."""

import json
import logging
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paredown.errors import NO_SPACE, ConfigError, RunError, first_line, require
from paredown.printable import hide_passwords
from paredown.tracking.contact import connect, connection_errors, may_answer_later, retry_once
from paredown.trust import stays_within

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

UNSENT = "mlflow.unsent"


class Run:
    """One MLflow run.

    What the store cannot take, since it is down or locked, is written to the job's folder
    instead, and so is everything after it, in order; `paredown.tracking.upload` sends it later.
    """

    def __init__(self, client: "MlflowClient", run_id: str, uri: str, folder: Path) -> None:
        self._client, self._uri, self._folder = client, uri, folder
        self.id = run_id
        self.unsent: Path | None = None

    def log(
        self,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log values without steps."""
        now = int(time.time() * 1000)
        values = [(key, float(value), now, 0) for key, value in (metrics or {}).items()]
        settings = {key: str(value) for key, value in (params or {}).items()}
        self._send({"do": "log", "metrics": values, "params": settings, "tags": dict(tags or {})})

    def log_curves(self, prefix: str, curves: Sequence[Mapping[str, float]]) -> None:
        """Log metrics under <prefix>/, one mapping per step, the first at step 1."""
        now = int(time.time() * 1000)
        values = [
            (f"{prefix}/{name}", float(value), now, step)
            for step, point in enumerate(curves, start=1)
            for name, value in point.items()
        ]
        for start in range(0, len(values), 1000):  # MLflow's limit of a batch
            batch = values[start : start + 1000]
            self._send({"do": "log", "metrics": batch, "params": {}, "tags": {}})

    def log_dataset(self, name: str, digest: str) -> None:
        """Name the images that the run is about, in the browser's column Dataset."""
        self._send({"do": "dataset", "name": name, "digest": digest[:36]})

    def log_text(self, text: str, name: str) -> None:
        """Keep a text as a file of the run."""
        self._send({"do": "text", "text": text, "name": name})

    def log_file(self, file: Path, folder: str = "") -> None:
        """Keep a file of the job's folder, under a folder of the run's."""
        self._send({"do": "file", "file": str(file), "folder": folder})

    def keep(self, file: Path, stage: str, digest: str) -> str:
        """Keep a file that ships, tag this run as its holder, and return its address, `runs:/…`."""
        self._send({"do": "file", "file": str(file), "folder": stage})
        path = f"{stage}/{file.name}"
        self.log(tags={file_tag(digest): path})
        return f"runs:/{self.id}/{path}"

    def end(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        self._send({"do": "end", "status": status})

    def _send(self, event: dict[str, Any]) -> None:
        if self.unsent is None:
            try:
                retry_once(lambda: send(self._client, self.id, event))
                return
            except connection_errors() as error:
                if getattr(error, "errno", None) in NO_SPACE and event["do"] == "file":
                    size = Path(event["file"]).stat().st_size
                    raise RunError(
                        f"{event['file']}: the disk is full after fewer than its {size:,} "
                        "bytes were copied to MLflow; the store keeps it. Make room, run again"
                    ) from error
                self.unsent = self._folder / UNSENT
                if is_deleted(self._client, self.id):
                    log.warning("%s", deleted(self.id, self._folder, self._uri))
                elif may_answer_later(error):
                    log.warning(
                        "tracking.uri %s does not answer; results stay on disk, later run: %s",
                        hide_passwords(self._uri),
                        upload_command(self._folder, self._uri),
                    )
                else:
                    self.unsent = None
                    raise
                self._write({"do": "open", "run_id": self.id})
        self._write(event)

    def _write(self, event: dict[str, Any]) -> None:
        assert self.unsent is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        if event["do"] == "file":  # the store may be cleaned before the upload
            copy = self._folder / event["folder"] / Path(event["file"]).name
            if copy != Path(event["file"]):
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(event["file"], copy)
            event = {**event, "file": f"{event['folder']}/{copy.name}"}
        with self.unsent.open("a") as file:
            file.write(json.dumps(event) + "\n")


def send(client: "MlflowClient", run_id: str, event: Mapping[str, Any]) -> None:
    """Send one event of a run to the store."""
    from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag

    match event["do"]:
        case "log":
            client.log_batch(
                run_id,
                metrics=[Metric(*value) for value in event["metrics"]],
                params=[Param(*item) for item in event["params"].items()],
                tags=[RunTag(*item) for item in event["tags"].items()],
            )
        case "dataset":
            images = Dataset(event["name"], event["digest"], source_type="local", source="{}")
            client.log_inputs(run_id, datasets=[DatasetInput(images)])
        case "text":
            client.log_text(run_id, event["text"], event["name"])
        case "file":
            client.log_artifact(run_id, event["file"], event["folder"] or None)
        case "end":
            client.set_terminated(run_id, event["status"])


def upload(folder: Path, uri: str) -> int:
    """Send what jobs under a folder could not; return how many runs are whole again.

    What one run cannot take, or a killed writer has cut, keeps no other from being sent.

    Raises:
        ConfigError: If the store still does not answer; nothing is lost then.
    """
    uploaded = 0
    for unsent in sorted(folder.rglob(UNSENT)):
        opening, *events = _read_events(unsent) or [{}]
        run_id = opening.get("run_id")
        if not isinstance(run_id, str):
            log.warning("%s does not say whose run it is; it is left as it is", unsent)
            continue
        try:
            complete = _upload_one(unsent, connect(uri), run_id, events)
        except connection_errors() as error:
            message = f"must answer to take {unsent}, got {first_line(error)}"
            raise ConfigError(f"{hide_passwords(uri)} {message}") from error
        if complete:
            unsent.rename(unsent.with_suffix(".sent"))
            uploaded += 1
    return uploaded


def _read_events(unsent: Path) -> list[dict[str, Any]]:
    """Read what was not sent, but for lines that a killed writer or a full disk has cut."""
    events = []
    for line in unsent.read_text(errors="replace").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            log.warning("%s: a line was cut when its writer died; the rest is sent", unsent)
    return events


def _upload_one(
    unsent: Path, client: "MlflowClient", run_id: str, events: Sequence[Mapping[str, Any]]
) -> bool:
    """Send one run's events; False if its run is gone and nothing can be sent.

    Raises:
        Exception: One of `connection_errors`, if the store is away.
    """
    if is_deleted(client, run_id):
        log.warning("%s", deleted(run_id, unsent.parent, client.tracking_uri))
        return False
    for event in events:
        if event["do"] == "file":
            name = event["file"].removeprefix("/")  # "/name" has no folder
            require(stays_within(name), str(unsent), "name files beside it", event["file"])
            event = {**event, "file": f"{unsent.parent}/{name}"}
            if not Path(event["file"]).is_file():
                log.warning("%s is gone, and so run %s will lack it", event["file"], run_id)
                continue
        try:
            send(client, run_id, event)
        except connection_errors() as error:
            if may_answer_later(error):
                raise
            log.warning("run %s does not take a part of %s: %s", run_id, unsent, first_line(error))
    return True


def is_deleted(client: "MlflowClient", run_id: str) -> bool:
    """Return whether the store reports a run as deleted, restorable or not."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "deleted")
    except MlflowException as error:
        return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")
    except OSError:
        return False


def deleted(run_id: str, folder: Path, uri: str) -> str:
    """Return a message: where the results of a deleted run are, and how to log them."""
    return (
        f"run {run_id} was deleted in MLflow; results stay in {folder}. The same command logs them "
        f"in a new run; or restore that one (mlflow runs restore --run-id {run_id}), then run: "
        + upload_command(folder, uri)
    )


def upload_command(folder: Path, uri: str) -> str:
    """Return the command that uploads unsent events under a folder; passwords are starred."""
    words = shlex.join([str(folder), hide_passwords(uri)])
    return f"python -m paredown.tracking.upload {words}"


def file_tag(sha256: str) -> str:
    """Name the tag that marks a run as the holder of a file."""
    return f"file.{sha256[:32]}"
