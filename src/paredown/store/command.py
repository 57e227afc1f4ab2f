"""List and clean the store, and MLflow's runs: python -m paredown.store.command [clean ...]."""

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
from paredown.store.entry import MANIFEST
from paredown.store.use import USE, in_use, turn

if TYPE_CHECKING:
    from paredown.tracking.deleted import KeptRun

DAY = 86_400
RUNS = "sqlite:///mlruns/mlflow.db"


@dataclass(frozen=True)
class Entry:
    """One folder in the store.

    Args:
        bytes: Of all its files.
        used: Time when it was made or last read, seconds since 1970.
        origin: The stage that made it; for people.
    """

    folder: Path
    bytes: int
    used: float
    origin: str

    def __str__(self) -> str:
        age = (time.time() - self.used) / DAY
        name, size = self.folder.name[:12], self.bytes / 1e6
        return f"{name}  {size:9.3f} MB  {age:6.1f} days  {self.origin}"


def entries(store: Path) -> list[Entry]:
    """List the entries of a store, the longest unused first; damaged and unfinished ones, too."""
    rows = []
    for folder in store.iterdir():
        if not folder.is_dir() or folder.name == USE:
            continue
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        try:
            about = json.loads((folder / MANIFEST).read_text())["about"]
            origin = f"{about['kind']:12} {about['dataset']} seed {about['seed']}  {about['path']}"
        except (OSError, ValueError, KeyError, TypeError):
            origin = "left by a process that died"
        if ".damaged-" in folder.name:
            origin = f"damaged: {origin}"
        rows.append(Entry(folder, size, folder.stat().st_mtime, origin))
    return sorted(rows, key=lambda entry: entry.used)


def superfluous(rows: list[Entry], days: float | None, gb: float | None) -> list[Entry]:
    """Choose entries to remove: those unused for `days`, then the oldest until `gb` (1e9 bytes)."""
    now = time.time()
    old = [entry for entry in rows if days is not None and now - entry.used > days * DAY]
    rest = [entry for entry in rows if entry not in old]
    while gb is not None and rest and sum(entry.bytes for entry in rest) > gb * 1e9:
        old.append(rest.pop(0))
    return old


def remove(store: Path, rows: list[Entry]) -> list[str]:
    """Remove entries, and locks without an entry; return the names of those in use."""
    (store / USE).mkdir(exist_ok=True)
    in_use_names = []
    for entry in rows:
        key = key_of_folder(entry.folder)
        with turn(store / USE):
            lock = store / f"{key}.lock"
            is_read = entry.folder.name == key and key in in_use(store)
            busy = is_read or (lock.exists() and not is_free(lock))
            remnant = store / f".{key}-{secrets.token_hex(4)}"  # a name as of a dead process's
            if not busy:
                with contextlib.suppress(FileNotFoundError):  # removed by another process
                    entry.folder.rename(remnant)
        if busy:
            in_use_names.append(entry.folder.name)
        shutil.rmtree(remnant, ignore_errors=True)
    for lock in store.glob("*.lock"):
        if not (store / lock.stem).is_dir():
            with contextlib.suppress(Timeout, OSError), FileLock(lock).acquire(timeout=0):
                lock.unlink()
    return in_use_names


def key_of_folder(folder: Path) -> str:
    """Return the key of an entry, unfinished and damaged ones included."""
    name = folder.name.partition(".damaged-")[0]
    return name[1:].rpartition("-")[0] if name.startswith(".") else name


def main() -> None:
    """List the store's entries, or remove those that are old or too many."""
    parser = argparse.ArgumentParser(prog="python -m paredown.store.command", description=__doc__)
    parser.add_argument("action", nargs="?", choices=("list", "clean"), default="list")
    parser.add_argument("--folder", help="the store; the user's cache folder if left out")
    parser.add_argument("--tracking", default=RUNS, help="MLflow's local store; servers are left")
    parser.add_argument("--days", type=float, help="clean: remove entries unused for longer")
    parser.add_argument("--gb", type=float, help="clean: remove the oldest until the rest fits")
    parser.add_argument("--yes", action="store_true", help="clean: really remove, not only list")
    options = parser.parse_args()
    cleans = options.action == "clean"
    with user_errors("store"):
        for name, limit in (("days", options.days), ("gb", options.gb)):
            if limit is not None and not limit >= 0:
                raise ConfigError(f"--{name} must be at least 0, got {limit}")
        if cleans and options.days is None and options.gb is None:
            raise ConfigError("clean must have --days or --gb; --days 0 removes everything")
        store = StoreFolder(options.folder).path
        rows = entries(store) if store.is_dir() else []
        if cleans:
            rows = superfluous(rows, options.days, options.gb)
        print(*rows, sep="\n", end="\n" if rows else "")
        verb = "would go from" if cleans else "in"
        if cleans and options.yes:
            verb = "removed from"
            in_use_names = remove(store, rows)
            for name in in_use_names:
                print(f"{name[:12]}  is in use, and stays")
            rows = [entry for entry in rows if entry.folder.name not in in_use_names]
        total = sum(entry.bytes for entry in rows) / 1e6
        print(f"{len(rows)} entries, {total:.1f} MB {verb} {store}")
        _show_runs(options.tracking, cleans, options.yes)


def _show_runs(uri: str, cleans: bool, really: bool) -> None:
    """Print the size of MLflow's runs, and remove the files of deleted ones when asked to."""
    from paredown.tracking.database import SQLITE, canonical, file_of

    if not uri.startswith(SQLITE) or not file_of(canonical(uri)).is_file():
        return  # a server is cleaned by mlflow gc
    from paredown.tracking.deleted import kept_runs, remove

    place = canonical(uri)
    runs = kept_runs(place)
    deleted = [run for run in runs if run.deleted]
    free = [run for run in deleted if not run.needed]
    folder = file_of(place).parent
    if not cleans:
        print(f"{len(runs)} runs, {_mb(runs):.1f} MB in {folder}")
    for run in free if cleans else deleted:
        stays = "; another run has a file of it, so it stays" if run.needed else ""
        print(f"{run.id[:12]}  {run.bytes / 1e6:9.3f} MB  deleted in MLflow  {run.name}{stays}")
    if cleans and really:
        remove(place, free)
    verb = "removed from" if really else "would go from"
    if cleans:
        print(f"{len(free)} deleted runs, {_mb(free):.1f} MB {verb} {folder}")
    elif free:
        print(f"{len(free)} of them, {_mb(free):.1f} MB, were deleted: make store-clean YES=1")


def _mb(runs: "list[KeptRun]") -> float:
    return sum(run.bytes for run in runs) / 1e6


if __name__ == "__main__":
    main()
