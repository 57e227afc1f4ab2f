"""The SQLite file of a local store: its address, and how MLflow's tables come into it whole."""

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

SQLITE = "sqlite:///"
FIRST_ROW = "experiments"  # the table that MLflow writes a row into once it has made all of them


def canonical(uri: str) -> str:
    """Return a SQLite URI with its file made absolute, and escaped as SQLAlchemy reads it.

    Args:
        uri: As a person writes it: a % or ? in the path is a part of a name, unless the file is
            there only where the path is read as escaped; `?key=value` at its end is options.
    """
    text = uri.removeprefix(SQLITE)
    options = re.search(r"\?\w+=[^/]*$", text)
    path = Path(text[: options.start()] if options else text).absolute()
    decoded = Path(unquote(str(path)))
    if not path.exists() and decoded.is_file():
        path = decoded
    return uri_of(path) + (options[0] if options else "")


def uri_of(file: Path) -> str:
    """Return the URI of an absolute file."""
    return SQLITE + str(file).replace("%", "%25").replace("?", "%3F")


def file_of(uri: str) -> Path:
    """Return the file that a URI of `canonical` names."""
    return Path(unquote(uri.removeprefix(SQLITE).partition("?")[0]))


@contextmanager
def without_stray_folders(uri: str) -> Iterator[None]:
    """Remove the folder that MLflow makes of an escaped path, which it takes for a plain one."""
    stray = Path(uri.removeprefix(SQLITE)).parent
    new = [folder for folder in (stray, *stray.parents) if not folder.exists()]
    try:
        yield
    finally:
        for folder in new:
            with contextlib.suppress(OSError):  # nothing was made, or it is in use
                folder.rmdir()


def make_whole(uri: str) -> None:
    """Make the database that a URI names, if it is not there or was never finished.

    MLflow makes its tables step by step, and refuses what it left half made; so they are made in
    a file beside it, which takes its place in one rename. Hold a lock over it.
    """
    file = file_of(uri)
    if file.is_file() and file.stat().st_size and not _is_half_made(file):
        return
    from mlflow import MlflowClient

    partial = file.with_name(f".{file.name}.partial")
    _remove(partial)
    with without_stray_folders(uri_of(partial)):
        MlflowClient(uri_of(partial)).search_experiments(max_results=1)
    descriptor = os.open(partial, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    _remove(file)
    partial.replace(file)


def _is_half_made(file: Path) -> bool:
    """Return whether a file holds only tables of MLflow, and all are empty."""
    listed = "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'"
    try:
        with contextlib.closing(sqlite3.connect(file)) as connection:  # rolls back a dead writer's
            names = {name for (name,) in connection.execute(listed)}
            if FIRST_ROW in names and _holds_a_row(connection, FIRST_ROW):
                return False
            tables = {name for name in names if "alembic_" not in name}
            has_rows = any(_holds_a_row(connection, name) for name in tables)
            return tables <= _known_tables() and not has_rows
    except sqlite3.Error:  # locked, or no database: MLflow reports it
        return False


def _known_tables() -> set[str]:
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.model_registry.dbmodels import models as _registry  # noqa: F401
    from mlflow.store.tracking.dbmodels import models as _tracking  # noqa: F401
    from mlflow.store.tracking.dbmodels.initial_models import Base as Initial

    return {*Base.metadata.tables, *Initial.metadata.tables}


def _holds_a_row(connection: sqlite3.Connection, table: str) -> bool:
    name = table.replace('"', '""')
    return connection.execute(f'select 1 from "{name}" limit 1').fetchone() is not None  # noqa: S608


def _remove(file: Path) -> None:
    """Remove a database with its journals: a journal that stays would be played into the next."""
    for end in ("", "-journal", "-wal", "-shm"):
        file.with_name(file.name + end).unlink(missing_ok=True)
