import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from paredown.store import StoreFolder
from paredown.store.command import Entry, entries, main, remove, superfluous
from paredown.store.local import Store
from paredown.store.use import USE
from paredown.tracking import Tracking
from paredown.tracking.deleted import kept_runs
from paredown.tracking.deleted import remove as remove_runs

ABOUT = {"stage": "prune", "kind": "weights", "dataset": "digits", "seed": 0, "path": "a-prune0.50"}


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    store = Store(tmp_path / "store")
    for key, size in (("old", 3_000_000), ("new", 1_000_000)):
        store.get(key, ABOUT, lambda folder, size=size: (folder / "x").write_bytes(b"0" * size))
    day = 86_400
    os.utime(store.folder / "old", (0, time.time() - 10 * day))
    return store.folder


def command(store: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    asked = [sys.executable, "-m", "paredown.store.command", "--folder", str(store), *arguments]
    return subprocess.run(asked, capture_output=True, text=True, check=False)


def names(found: list[Entry]) -> list[str]:
    return [entry.folder.name for entry in found]


def test_entries_come_longest_unused_first_with_their_size(filled: Path) -> None:
    old, new = entries(filled)
    assert names([old, new]) == ["old", "new"]
    assert old.bytes == 3_000_000 + (filled / "old/manifest.json").stat().st_size
    assert "a-prune0.50" in old.origin


def test_what_is_older_or_over_the_limit_goes_and_nothing_else(filled: Path) -> None:
    kept = entries(filled)
    assert names(superfluous(kept, 9, None)) == ["old"]
    assert names(superfluous(kept, 11, None)) == []
    assert names(superfluous(kept, None, 0.002)) == ["old"]
    assert names(superfluous(kept, None, 0.0)) == ["old", "new"]
    assert names(superfluous(kept, None, 1.0)) == []


def test_reading_an_entry_makes_it_young_again(filled: Path) -> None:
    Store(filled).get("old", ABOUT, lambda folder: pytest.fail("made again"))
    assert names(entries(filled)) == ["new", "old"]


def test_cleaning_only_tells_until_it_is_told_yes(filled: Path) -> None:
    dry = command(filled, "clean", "--days", "9")
    assert "1 entries, 3.0 MB would go from" in dry.stdout
    assert (filled / "old").exists()
    done = command(filled, "clean", "--days", "9", "--yes")
    assert "removed from" in done.stdout
    assert not (filled / "old").exists()
    assert (filled / "new").exists()


def test_a_half_entry_is_listed_and_can_be_removed(filled: Path) -> None:
    (filled / ".key-abc").mkdir()
    assert "left by a process that died" in command(filled).stdout
    command(filled, "clean", "--days", "0", "--yes")
    assert [path.name for path in filled.iterdir()] == [USE]


@pytest.mark.parametrize("arguments", [("clean",), ("clean", "--days", "-1")])
def test_cleaning_without_a_limit_is_refused(filled: Path, arguments: tuple[str, ...]) -> None:
    done = command(filled, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(entries(filled)) == 2


def test_what_a_run_reads_stays_until_it_ends(filled: Path) -> None:
    with StoreFolder(str(filled)).open() as store:
        store.get("old", ABOUT, lambda folder: pytest.fail("made again"))
        assert remove(filled, entries(filled)) == ["old"]
        assert [entry.folder.name for entry in entries(filled)] == ["old"]
    assert remove(filled, entries(filled)) == []
    assert entries(filled) == []


def test_what_is_being_made_stays(filled: Path) -> None:
    def make(folder: Path) -> None:
        (half,) = (entry for entry in entries(filled) if entry.folder == folder)
        assert remove(filled, [half]) == [folder.name]
        (folder / "x").touch()

    assert (Store(filled).get("making", ABOUT, make) / "x").exists()


def test_a_run_that_was_killed_keeps_nothing(filled: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from paredown.store import Store
store = Store(Path({str(filled)!r}))
store.get("old", {ABOUT!r}, lambda folder: None)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    assert list((filled / USE).glob("*.keys"))
    assert remove(filled, entries(filled)) == []
    assert [path.name for path in (filled / USE).iterdir()] == ["turn.lock"]


def test_cleaning_takes_the_locks_of_what_is_not_there(filled: Path) -> None:
    held = FileLock(filled / "held.lock")
    assert {path.name for path in filled.glob("*.lock")} == {"old.lock", "new.lock"}
    with held:
        remove(filled, [entry for entry in entries(filled) if entry.folder.name == "old"])
        assert {path.name for path in filled.glob("*.lock")} == {"new.lock", "held.lock"}


@pytest.fixture
def deleted(tmp_path: Path) -> list:
    """Three runs in mlruns/: one whose file another has, that other, and one that is alone."""
    uri = f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    tracker = Tracking(uri, "paredown", parent=None, trial=None).connect()
    runs = [tracker.start(name, tmp_path) for name in ("shared", "using", "alone")]
    for run in runs:
        place = tmp_path / "mlruns" / run.id / "artifacts"
        place.mkdir(parents=True)
        (place / "model.onnx").write_bytes(b"0" * 1_000_000)
    runs[1].log(tags={"baseline/file": f"runs:/{runs[0].id}/model.onnx"})
    for run in runs:
        run.end("FINISHED")
    for run in (runs[0], runs[2]):
        tracker.client.delete_run(run.id)
    return runs


def clean_here(
    filled: Path,
    *arguments: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """Call the command in the folder that the store and mlruns/ lie in."""
    monkeypatch.chdir(filled.parent)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")
    monkeypatch.setattr(sys, "argv", ["store", "--folder", str(filled), *arguments])
    main()
    return capsys.readouterr().out


def test_runs_are_counted_and_those_deleted_in_mlflow_are_freed_unless_another_has_their_files(
    filled: Path,
    deleted: list,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shared, _, alone = deleted
    listed = clean_here(filled, monkeypatch=monkeypatch, capsys=capsys)
    assert f"3 runs, 3.0 MB in {filled.parent}/mlruns" in listed
    assert "1 of them, 1.0 MB, were deleted: make store-clean YES=1" in listed
    assert "shared; another run has a file of it, so it stays" in listed
    asked = ("clean", "--days", "30")
    told = clean_here(filled, *asked, monkeypatch=monkeypatch, capsys=capsys)
    assert "1 deleted runs, 1.0 MB would go from" in told
    mlruns = filled.parent / "mlruns"
    assert (mlruns / alone.id).is_dir()
    told = clean_here(filled, *asked, "--yes", monkeypatch=monkeypatch, capsys=capsys)
    assert "1 deleted runs, 1.0 MB removed from" in told
    assert not (mlruns / alone.id).exists()
    assert (mlruns / shared.id / "artifacts" / "model.onnx").is_file()
    left = kept_runs(f"sqlite:///{mlruns}/mlflow.db")
    assert {run.name for run in left} == {"shared", "using"}
    again = clean_here(filled, *asked, "--yes", monkeypatch=monkeypatch, capsys=capsys)
    assert "0 deleted runs, 0.0 MB removed from" in again


def test_files_of_a_run_that_lie_elsewhere_are_left_alone(tmp_path: Path, deleted: list) -> None:
    secret = tmp_path / "elsewhere"
    secret.mkdir()
    (secret / "file").write_text("of the user")
    with contextlib.closing(sqlite3.connect(tmp_path / "mlruns/mlflow.db")) as database:
        database.execute("update runs set artifact_uri = ?", (secret.as_uri(),))
        database.commit()
    uri = f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    runs = kept_runs(uri)
    assert {run.bytes for run in runs} == {0}
    remove_runs(uri, runs)
    assert (secret / "file").is_file()
    assert (tmp_path / "mlruns" / deleted[2].id / "artifacts" / "model.onnx").is_file()
