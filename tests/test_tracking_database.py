import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from paredown.tracking import Tracking
from paredown.tracking.database import canonical, file_of

ODD = "50%20 off? it's #1"


def tables(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as connection:
        return {name for (name,) in connection.execute("select name from sqlite_master")}


def connect(folder: Path, experiment: str = "one"):
    return Tracking(f"sqlite:///{folder}/mlflow.db", experiment, None, None).connect()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database that MLflow finished."""
    folder = tmp_path_factory.mktemp("whole")
    connect(folder)
    return folder


def test_a_database_half_made_by_a_killed_command_is_made_again(tmp_path: Path) -> None:
    """MLflow's first tables without its later ones: what kill -9 left in older versions."""
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("create table experiments (experiment_id integer primary key)")
        connection.execute("create table runs (run_uuid text primary key)")
        connection.execute("create table _alembic_tmp_runs (run_uuid text)")
        connection.commit()
    tracker = connect(tmp_path)
    with tracker.run("cnn4", tmp_path) as run:
        run.log(metrics={"accuracy": 0.5})
    assert tracker.client.get_run(run.id).data.metrics == {"accuracy": 0.5}
    assert not list(tmp_path.glob(".mlflow.db.partial*"))


def test_an_empty_file_and_what_a_killed_maker_left_are_no_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    (tmp_path / ".mlflow.db.partial").write_bytes(b"SQLite format 3\0 cut")
    (tmp_path / ".mlflow.db.partial-journal").write_bytes(b"of another time")
    assert connect(tmp_path).experiment_id
    assert sorted(path.name for path in tmp_path.iterdir()) == [".first-touch.lock", "mlflow.db"]


def test_a_database_of_somebody_else_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("create table guests (name text)")
        connection.commit()
    connect(tmp_path)  # MLflow puts its tables beside it, as ever
    assert "guests" in tables(file)


def test_a_database_with_runs_is_never_made_again(whole: Path) -> None:
    file = whole / "mlflow.db"
    before = file.stat().st_ino
    connect(whole, "two")
    assert file.stat().st_ino == before


KILL = """
import os, signal, sys
from itertools import count
from alembic.runtime.migration import HeadMaintainer
from paredown.tracking import Tracking

step, inner = count(1), HeadMaintainer.update_to_step

def update_to_step(self, *arguments):
    inner(self, *arguments)
    if next(step) == 20:
        os.kill(os.getpid(), signal.SIGKILL)

HeadMaintainer.update_to_step = update_to_step
Tracking(f"sqlite:///{sys.argv[1]}/mlflow.db", "one", None, None).connect()
"""


def test_kill_9_in_the_middle_of_the_tables_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILL, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "mlflow.db").exists()
    assert (tmp_path / ".mlflow.db.partial").exists()
    assert connect(tmp_path).experiment_id
    assert not (tmp_path / ".mlflow.db.partial").exists()


def test_a_path_of_any_name_holds_database_and_files(tmp_path: Path) -> None:
    folder = tmp_path / ODD
    tracker = connect(folder)
    with tracker.run("cnn4", folder, tags={"place": str(folder)}) as run:
        run.log_text("seed: 0\n", "config.yaml")
    assert (folder / "mlflow.db").is_file()
    assert list(tmp_path.iterdir()) == [folder]  # no folder of an escaped name beside it
    assert [path.name for path in folder.rglob("config.yaml")] == ["config.yaml"]
    assert tracker.text(run.id, "config.yaml") == "seed: 0\n"
    (files,) = tracker.where(run)
    assert Path(files.removeprefix("files:").strip(), "config.yaml").is_file()
    assert tracker.reopen("place", str(folder), folder).id == run.id
    assert tracker.reopen("place", f"{folder}?", folder) is None


@pytest.mark.parametrize("name", ["plain", "a%20b", "a?b", "50%", "a#b c'd", "%3F"])
def test_a_uri_names_the_file_that_it_was_written_for(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "mlflow.db"
    uri = canonical(f"sqlite:///{file}")
    assert file_of(uri) == file
    file.parent.mkdir()
    file.touch()
    assert canonical(uri) == uri  # as a person copies it from what was printed


def test_options_at_the_end_of_a_uri_are_no_part_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uri = canonical("sqlite:///runs/mlflow.db?timeout=30")
    assert uri == f"sqlite:///{tmp_path}/runs/mlflow.db?timeout=30"
    assert file_of(uri) == tmp_path / "runs/mlflow.db"
