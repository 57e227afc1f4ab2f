"""Reading a database's tables gives what MLflow's API gives, or leaves it to the API."""

import math
import sqlite3
from pathlib import Path

import pytest

from paredown.errors import ConfigError
from paredown.tracking import Tracking
from paredown.tracking.database import file_of
from paredown.tracking.reader import ask
from paredown.tracking.tables import Row, read_tables
from paredown.tracking.tracker import Tracker

VALUES = {"accuracy": 0.1, "slow": math.inf, "low": -math.inf, "odd": math.nan, "prune/macs": 3e9}


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """A store with two experiments, and in the first every kind of run."""
    folder = tmp_path_factory.mktemp("a store#1 of 100%")
    uri = f"sqlite:///{folder}/mlflow.db"
    for name in ("other", "paredown"):
        tracker = Tracking(uri, name, None, None).connect()
        fill(tracker, folder)
    return Tracking(uri, "paredown", None, None)


def fill(tracker: Tracker, folder: Path) -> None:
    stages = {"stages": "baseline,prune", "sweep.id": "1"}
    with tracker.run("sweep", folder) as sweep:
        for name in ("one", "two", "deleted"):
            with tracker.run(name, folder, sweep.id, stages) as run:
                run.log({"seed": 0, "name": "ü%'\n"}, VALUES, {"empty": ""})
                run.log_curves("train", [{"loss": 2.0}, {"loss": math.nan}, {"loss": 1.0}])
        tracker.client.delete_run(run.id)
        with tracker.run("bare", folder, tags={"stages": "baseline"}):
            pass
        with pytest.raises(ValueError), tracker.run("bad", folder, sweep.id, stages):
            raise ValueError
        tracker.start("running", folder, sweep.id, stages)


def plain(rows: list[Row] | None) -> list[str]:
    """Write rows so that NaN equals NaN; the order of names tells nothing."""
    assert rows is not None
    return [repr([sorted(part.items()) if isinstance(part, dict) else part for part in row])
            for row in rows]  # fmt: skip


def test_the_tables_give_what_the_api_gives(tracking: Tracking) -> None:
    tracker = tracking.visit()
    found = read_tables(tracker.uri, tracker.experiment_id, None)
    assert plain(found) == plain(ask(tracker.client, tracker.experiment_id, None))
    assert found is not None
    assert [name for _, name, *_ in found] == ["bare", "two", "one", "sweep"]
    _, _, _, params, metrics, _ = found[1]
    assert params == {"seed": "0", "name": "ü%'\n"}
    assert math.isnan(metrics["odd"])
    assert (metrics["accuracy"], metrics["train/loss"]) == (0.1, 1.0)


def test_the_tables_give_the_runs_of_one_sweep(tracking: Tracking) -> None:
    tracker = tracking.visit()
    sweep = tracker.finished()[-1].parent
    for parent, names in ((sweep, ["two", "one"]), (sweep and sweep.upper() + "'", [])):
        found = read_tables(tracker.uri, tracker.experiment_id, parent)
        assert [name for _, name, *_ in found or []] == names
    asked = ask(tracker.client, tracker.experiment_id, sweep)
    assert plain(read_tables(tracker.uri, tracker.experiment_id, sweep)) == plain(asked)


def test_only_jobs_are_listed_and_a_run_without_a_name_has_that_of_its_tag(
    tracking: Tracking,
) -> None:
    tracker = tracking.visit()
    file = file_of(tracker.uri)
    before = tracker.finished()
    with sqlite3.connect(file) as store:
        store.execute("UPDATE runs SET name = ''")
    store.close()
    assert [run.name for run in tracker.finished()] == ["bare", "two", "one"]
    assert repr(tracker.finished()) == repr(before)
    assert plain(read_tables(tracker.uri, tracker.experiment_id, None)) == plain(
        ask(tracker.client, tracker.experiment_id, None)
    )


def test_a_server_is_asked_and_so_is_an_mlflow_with_other_tables(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = tracking.visit()
    for uri in ("http://127.0.0.1:9", "mysql://127.0.0.1/mlflow", "sqlite:////none/mlflow.db"):
        assert read_tables(uri, tracker.experiment_id, None) is None
    before = tracker.finished()
    monkeypatch.delattr("mlflow.store.tracking.dbmodels.models.SqlLatestMetric")
    assert read_tables(tracker.uri, tracker.experiment_id, None) is None
    assert [run.id for run in tracker.finished()] == [run.id for run in before]


@pytest.mark.parametrize(
    "change",
    ["ALTER TABLE runs RENAME COLUMN name TO title", "DROP TABLE latest_metrics"],
)
def test_a_database_with_other_tables_is_told_in_one_line(
    tracking: Tracking, tmp_path: Path, change: str
) -> None:
    tracker = tracking.visit()
    file = tmp_path / "mlflow.db"
    file.write_bytes(Path(file_of(tracker.uri)).read_bytes())
    store = sqlite3.connect(file)
    store.execute(change)
    store.close()
    changed = Tracking(f"sqlite:///{file}", "paredown", None, None)
    assert read_tables(changed.absolute_uri, tracker.experiment_id, None) is None
    visited = changed.visit()
    rule = r"^tracking.uri must name a store that answers"
    with pytest.raises(ConfigError, match=rule) as told, changed.answering():
        visited.finished()
    assert "\n" not in str(told.value)


def test_reading_the_tables_leaves_the_file_as_it_is(tracking: Tracking) -> None:
    tracker = tracking.visit()
    file = Path(file_of(tracker.uri))
    before, beside = file.read_bytes(), set(file.parent.iterdir())
    assert read_tables(tracker.uri, tracker.experiment_id, None)
    assert (file.read_bytes(), set(file.parent.iterdir())) == (before, beside)
