"""Reading the jobs of an experiment: from a database's tables, or else through MLflow's API."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paredown.metric import metric_names
from paredown.run.results import titled
from paredown.tracking.contact import without_cycles
from paredown.tracking.tables import Row, read_tables
from paredown.tracking.tags import NOTE, PARENT, STAGES

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

LARGEST = 1e300  # MLflow keeps the largest float for an infinite one
PAGE = 500  # runs a query; MLflow takes 50,000, but holds 0.4 MB a run until the query is done


@dataclass(frozen=True)
class Logged:
    """A job's run as MLflow keeps it.

    Args:
        id, name: Of the run.
        started: Milliseconds since 1970.
        parent: Id of the run of the sweep that it belongs to; None for a single run.
        stages: Names of its variants, in order; their metrics are `<stage>/<metric>`.
        params, metrics, tags: By name.
    """

    id: str
    name: str
    started: int
    parent: str | None
    stages: tuple[str, ...]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def dataset(self) -> str:
        """Name of its data set, without the fingerprint."""
        return self.tags.get("dataset", "").rpartition(" ")[0]

    def title(self, stage: str) -> str:
        """Name a stage of it, for people, with what has to be said beside it."""
        return titled(stage, self.tags.get(f"{stage}/{NOTE}", ""))


def under(stage: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics under `<stage>/`, without that prefix."""
    prefix = f"{stage}/"
    return {
        name.removeprefix(prefix): value
        for name, value in metrics.items()
        if name.startswith(prefix)
    }


def read(client: "MlflowClient", uri: str, experiment: str, parent: str | None) -> list[Logged]:
    """List the finished jobs, the newest first, without those that have a metric that is no number.

    The parent is the id of a sweep's run; None: all jobs of the experiment.
    """
    rows = read_tables(uri, experiment, parent)
    if rows is None:
        rows = ask(client, experiment, parent)
    jobs = [_logged(row) for row in rows if STAGES in row[-1]]
    return [job for job in jobs if _is_sound(job)]


def _is_sound(job: Logged) -> bool:
    """Return whether all metrics of a job's files are finite; warn of one that has others."""
    own = (*job.stages, *metric_names())
    for name, value in job.metrics.items():
        if name.partition("/")[0] in own and not abs(value) < LARGEST:
            log.warning("run %s (%s) is left out: its %s is no number", job.name, job.id, name)
            return False
    return True


def ask(client: "MlflowClient", experiment: str, parent: str | None) -> list[Row]:
    """Read finished runs through the API, which every store has; see `read_tables`."""
    condition = "attributes.status = 'FINISHED'"
    if parent is not None:
        condition += f" and tags.`{PARENT}` = '{parent}'"
    rows: list[Row] = []
    token = None
    with without_cycles():
        while True:
            page = client.search_runs([experiment], condition, max_results=PAGE, page_token=token)
            for run in page:
                info, data = run.info, run.data
                values = data.params, data.metrics, data.tags
                rows.append((info.run_id, info.run_name, info.start_time, *values))
            token = page.token
            if not token:
                return rows


def _logged(row: Row) -> Logged:
    run, name, started, params, metrics, tags = row
    stages = tuple(tags[STAGES].split(","))
    return Logged(run, name, started, tags.get(PARENT), stages, params, metrics, tags)
