"""Finished runs from the tables of MLflow's database: four queries, however many runs there are.

MLflow's API makes an object of every metric, param and tag, which takes 1.3 ms per run; here rows
are used as the database returns them.
"""

import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from paredown.tracking.database import SQLITE, file_of
from paredown.tracking.tags import PARENT

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

NAME = "mlflow.runName"  # of a run that an old MLflow made
Row = tuple[str, str, int, dict[str, str], dict[str, float], dict[str, str]]
"""Id, name, start, params, metrics, tags."""


def read_tables(uri: str, experiment: str, parent: str | None) -> list[Row] | None:
    """List the finished runs of an experiment or of a sweep's run, as MLflow's API would.

    Returns:
        None where only the API can read them: the store is a server or a database that is not known
        here, cannot be read alone, or has other tables than this.
    """
    if not uri.startswith((SQLITE, "postgresql")):
        return None
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with _open(uri).connect() as connection:
            return _read(connection, int(experiment), parent)
    except (SQLAlchemyError, ImportError, AttributeError):
        return None


def _open(uri: str) -> "Engine":
    """Open a database so that nothing stays open, and a file so that nothing is written."""
    from sqlalchemy import NullPool, create_engine

    if not uri.startswith(SQLITE):
        return create_engine(uri, poolclass=NullPool)
    file = file_of(uri).as_uri() + "?mode=ro"
    opened = {"creator": lambda: sqlite3.connect(file, uri=True), "poolclass": NullPool}
    return create_engine(SQLITE, **opened)


def _read(connection: "Connection", experiment: int, parent: str | None) -> list[Row]:
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlParam, SqlRun, SqlTag
    from sqlalchemy import select

    wanted = [
        SqlRun.experiment_id == experiment,
        SqlRun.status == "FINISHED",
        SqlRun.lifecycle_stage == "active",
    ]
    if parent is not None:
        mark = (SqlTag.key == PARENT, SqlTag.value == parent)
        wanted.append(SqlRun.run_uuid.in_(select(SqlTag.run_uuid).where(*mark)))

    def of(table: Any, *more: Any) -> Iterable[Any]:
        query = select(table.run_uuid, table.key, table.value, *more)
        mine = SqlRun.run_uuid == table.run_uuid
        return connection.execute(query.join(SqlRun, mine).where(*wanted))

    # The runs first: what finishes in between is left out, instead of being read in part.
    newest = (SqlRun.start_time.desc(), SqlRun.run_uuid)
    runs = select(SqlRun.run_uuid, SqlRun.name, SqlRun.start_time).where(*wanted)
    rows = connection.execute(runs.order_by(*newest)).all()
    tags, params = _by_run(of(SqlTag)), _by_run(of(SqlParam))
    metrics = _by_run(
        (run, key, math.nan if is_nan else value)
        for run, key, value, is_nan in of(SqlLatestMetric, SqlLatestMetric.is_nan)
    )
    return [
        (run, name or tags[run].get(NAME, name), started, params[run], metrics[run], tags[run])
        for run, name, started in rows
    ]


def _by_run(values: Iterable[Any]) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = defaultdict(dict)
    for run, key, value in values:
        groups[run][key] = value
    return groups
