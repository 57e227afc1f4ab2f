"""See and clean the store, and MLflow's runs: python -m paredown.store.command [clean ...]."""

import argparse
import contextlib
import json
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from paredown.cli.exits import user_errors
from paredown.errors import ConfigError
from paredown.host.process import is_free
from paredown.store import StoreFolder
from paredown.store.local import MANIFEST
from paredown.store.use import USE, in_use, turn

if TYPE_CHECKING:
    from paredown.tracking.deleted import KeptRun

DAY = 86_400
RUNS = "sqlite:///mlruns/mlflow.db"


@dataclass(frozen=True)
class Entry:
    """One thing in the store.

    Args:
        folder: Where it is.
        bytes: Of all its files.
        used: When it was made or last read, seconds since 1970.
        what: What made it; for people.
    """

    folder: Path
    bytes: int
    used: float
    what: str


def entries(store: Path) -> list[Entry]:
    """List what a store keeps, the longest unused first; damaged and half entries too."""
    found = []
    for folder in store.iterdir():
        if not folder.is_dir() or folder.name == USE:
            continue
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        try:
            about = json.loads((folder / MANIFEST).read_text())["about"]
            what = f"{about['kind']:12} {about['dataset']} seed {about['seed']}  {about['path']}"
        except (OSError, ValueError, KeyError, TypeError):
            what = "left by a process that died"
        if ".damaged-" in folder.name:
            what = f"damaged: {what}"
        found.append(Entry(folder, size, folder.stat().st_mtime, what))
    return sorted(found, key=lambda entry: entry.used)


def superfluous(kept: list[Entry], days: float | None, gb: float | None) -> list[Entry]:
    """Choose what goes: what is older than `days`, then the oldest until `gb` (1e9 bytes) hold."""
    now = time.time()
    old = [entry for entry in kept if days is not None and now - entry.used > days * DAY]
    rest = [entry for entry in kept if entry not in old]
    while gb is not None and rest and sum(entry.bytes for entry in rest) > gb * 1e9:
        old.append(rest.pop(0))
    return old


def remove(store: Path, entries_: list[Entry]) -> list[str]:
    """Remove entries, and the locks of all that are not there; return the names of those in use."""
    (store / USE).mkdir(exist_ok=True)
    left = []
    for entry in entries_:
        key = key_of_folder(entry.folder)
        with turn(store / USE):
            lock = store / f"{key}.lock"
            read = entry.folder.name == key and key in in_use(store)
            busy = read or (lock.exists() and not is_free(lock))
            going = store / f".{key}-{secrets.token_hex(4)}"  # as what a dead process has left
            if not busy:
                with contextlib.suppress(FileNotFoundError):  # somebody else has removed it
                    entry.folder.rename(going)
        if busy:
            left.append(entry.folder.name)
        shutil.rmtree(going, ignore_errors=True)
    for lock in store.glob("*.lock"):
        if not (store / lock.stem).is_dir():
            with contextlib.suppress(Timeout, OSError), FileLock(lock).acquire(timeout=0):
                lock.unlink()
    return left


def key_of_folder(folder: Path) -> str:
    """Return the key of an entry, of one that is half made or of one that is damaged."""
    name = folder.name.partition(".damaged-")[0]
    return name[1:].rpartition("-")[0] if name.startswith(".") else name


def _tell(entry: Entry) -> str:
    age = (time.time() - entry.used) / DAY
    return f"{entry.folder.name[:12]}  {entry.bytes / 1e6:9.3f} MB  {age:6.1f} days  {entry.what}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m paredown.store.command", description=__doc__)
    parser.add_argument("action", nargs="?", choices=("list", "clean"), default="list")
    parser.add_argument("--folder", help="the store; the user's cache folder if left out")
    parser.add_argument("--tracking", default=RUNS, help="MLflow's local store; others are left")
    parser.add_argument("--days", type=float, help="clean: what was not used for longer goes")
    parser.add_argument("--gb", type=float, help="clean: the oldest go until the rest fits")
    parser.add_argument("--yes", action="store_true", help="clean: really remove; else only tell")
    return parser.parse_args()


def main() -> None:
    """List what is kept, or remove what is old or too much."""
    asked = _arguments()
    with user_errors("store"):
        for name in ("days", "gb"):
            value = getattr(asked, name)
            if value is not None and not value >= 0:
                raise ConfigError(f"--{name} must be at least 0, got {value}")
        if asked.action == "clean" and asked.days is None and asked.gb is None:
            raise ConfigError("clean must be given --days or --gb; --days 0 removes everything")
        store = StoreFolder(asked.folder).path
        kept = entries(store) if store.is_dir() else []
        chosen = kept
        if asked.action == "clean":
            chosen = superfluous(kept, asked.days, asked.gb)
        for entry in chosen:
            print(_tell(entry))
        done = "in" if asked.action == "list" else "would go from"
        if asked.action == "clean" and asked.yes:
            done = "removed from"
            stay = set(remove(store, chosen))
            for entry in chosen:
                if entry.folder.name in stay:
                    print(f"{entry.folder.name[:12]}  is in use, and stays")
            chosen = [entry for entry in chosen if entry.folder.name not in stay]
        total = sum(entry.bytes for entry in chosen) / 1e6
        print(f"{len(chosen)} entries, {total:.1f} MB {done} {store}")
        _tell_runs(asked.tracking, clean=asked.action == "clean", really=asked.yes)


def _tell_runs(uri: str, clean: bool, really: bool) -> None:
    """Say what MLflow's runs take, and free those that were deleted there if that is asked for."""
    from paredown.tracking.database import SQLITE, canonical, file_of

    if not uri.startswith(SQLITE) or not file_of(canonical(uri)).is_file():
        return  # a server cleans up after itself, by mlflow gc
    from paredown.tracking.deleted import kept_runs, remove

    place = canonical(uri)
    runs = kept_runs(place)
    deleted = [run for run in runs if run.deleted]
    free = [run for run in deleted if not run.needed]
    folder = file_of(place).parent
    if not clean:
        print(f"{len(runs)} runs, {_mb(runs):.1f} MB in {folder}")
    for run in free if clean else deleted:
        stays = "; another run has a file of it, so it stays" if run.needed else ""
        print(f"{run.id[:12]}  {run.bytes / 1e6:9.3f} MB  deleted in MLflow  {run.name}{stays}")
    if clean and really:
        remove(place, free)
    done = "removed from" if really else "would go from"
    if clean:
        print(f"{len(free)} deleted runs, {_mb(free):.1f} MB {done} {folder}")
    elif free:
        print(f"{len(free)} of them, {_mb(free):.1f} MB, were deleted: make store-clean YES=1")


def _mb(runs: "list[KeptRun]") -> float:
    return sum(run.bytes for run in runs) / 1e6


if __name__ == "__main__":
    main()
