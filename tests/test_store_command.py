import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from paredown.store import Store, StoreFolder
from paredown.store_command import Entry, entries, remove, superfluous
from paredown.use import USE

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
    asked = [sys.executable, "-m", "paredown.store_command", "--folder", str(store), *arguments]
    return subprocess.run(asked, capture_output=True, text=True, check=False)


def names(found: list[Entry]) -> list[str]:
    return [entry.folder.name for entry in found]


def test_entries_come_longest_unused_first_with_their_size(filled: Path) -> None:
    old, new = entries(filled)
    assert names([old, new]) == ["old", "new"]
    assert old.bytes == 3_000_000 + (filled / "old/manifest.json").stat().st_size
    assert "a-prune0.50" in old.what


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
