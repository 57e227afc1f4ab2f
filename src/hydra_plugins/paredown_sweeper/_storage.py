"""Where a study lives, and whether it is the one that is asked for."""

import os
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from paredown.errors import ConfigError, require
from paredown.tracking.contact import refusal

JOURNAL, STUDY, IDENTITY = "study.journal", "pareto", "paredown.identity"
OPENING = b'{"op_code":'
HINT = "take another hydra.sweep.dir for another search"


def where(url: str | None, folder: Path) -> str:
    """Name the storage as optuna-dashboard takes it, a password left out.

    Without the URL of a database it is a file in the sweep's folder, which is absolute.
    """
    if url is None:
        return str(folder / JOURNAL)
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return url


def open_study(
    url: str | None, name: str | None, folder: Path, identity: dict[str, Any]
) -> optuna.Study:
    """Open a study, made if it is not there; hold a lock over it.

    A study without a name is named after the folder; its identity, plain data, has to stay the
    same.

    Raises:
        ConfigError: If the storage cannot be read, or holds another search.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = name or (STUDY if url is None else str(folder))
    directions = list(identity["hydra.sweeper.objectives"].values())
    try:
        storage = _storage(url, folder)
        study = optuna.create_study(
            storage=storage, study_name=name, directions=directions, load_if_exists=True
        )
        _check(study, identity, folder)
    except ConfigError:
        raise
    except (*_UNREADABLE, OptunaError, SQLAlchemyError, ImportError) as error:
        message = refusal(error)
        rule = "must be a study of Optuna that can be read and written"
        mend = "move it away" if url is None else "mend the URL or the server"
        if "table schema" in message:
            mend = "a study wants a database of its own, and MLflow's is none"
        got = f"got {where(url, folder)}: {message}"
        raise ConfigError(f"hydra.sweeper.storage {rule}, {got}; {mend}") from error
    return study


_UNREADABLE = (
    *(ValueError, LookupError, TypeError, AttributeError, AssertionError, IsADirectoryError),
    RuntimeError,
)
"""What Optuna raises on a file that is no journal, and on tables of another version."""


def _storage(url: str | None, folder: Path) -> BaseStorage:
    if url is not None:
        rule = "be a postgresql:// URL, or null for a file in the sweep's folder"
        require(url.startswith("postgresql"), "hydra.sweeper.storage", rule, url)
        return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})  # it may be restarted
    path = folder / JOURNAL
    if path.is_file():
        with path.open("rb") as file:
            if not OPENING.startswith(file.read(len(OPENING))):  # less of it: its writer died
                raise ValueError("it is not a journal")
        _cut_torn_end(path)
    return JournalStorage(JournalFileBackend(str(path)))


def _cut_torn_end(path: Path) -> None:
    """Drop the half line that a killed writer left: Optuna would append to it and break."""
    lock = JournalFileSymlinkLock(str(path))  # the one that writers take
    lock.acquire()
    try:
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
    finally:
        lock.release()


def _check(study: optuna.Study, identity: dict[str, Any], folder: Path) -> None:
    """Refuse a study whose objectives, space or fixed settings are not these."""
    stored = study.user_attrs.get(IDENTITY)
    if stored is None:
        if study.get_trials(deepcopy=False):
            raise ValueError("it has trials that no search of Paredown made")
        study.set_user_attr(IDENTITY, identity)
        return
    for key, now in identity.items():
        before = stored.get(key)
        if isinstance(now, dict) and isinstance(before, dict):
            changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
            for name in changed:
                got, rule = now.get(name, "nothing"), f"stay {before.get(name, 'out')}"
                raise ConfigError(f"{key}: {name} must {rule} in {folder}, got {got}; {HINT}")
            if list(before) != list(now) and key == "hydra.sweeper.objectives":
                raise ConfigError(f"{key} must keep their order in {folder}; {HINT}")
        elif before != now:
            raise ConfigError(f"{key} must stay {before} in {folder}, got {now}; {HINT}")
