"""What was computed is kept, under a key made of everything that determines it.

An entry is a folder. It is made beside its place, flushed, and moved there in one rename, its
manifest (sha256 of every file) written last; whoever reads it checks the manifest first. Of
several processes that need the same entry one makes it and the others wait.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
OFF = "off"


@dataclass(frozen=True)
class StoreFolder:
    """Where results are kept.

    Args:
        folder: A path; null for the user's cache folder; `off` to keep nothing.
    """

    folder: str | None

    @contextmanager
    def open(self) -> Iterator["Store"]:
        """Give a Store; one that is off lasts until the end of the block."""
        if self.folder == OFF:
            with tempfile.TemporaryDirectory(prefix="paredown-") as folder:
                yield Store(Path(folder))
            return
        if self.folder is None:
            from platformdirs import user_cache_path

            yield Store(user_cache_path("paredown") / "store")
            return
        yield Store(Path(self.folder).expanduser().absolute())


class Store:
    """Entries by key, in one folder that any number of processes may share."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def get(self, key: str, about: dict[str, Any], make: Callable[[Path], None]) -> Path:
        """Return the folder of an entry, made first if it is not there or damaged.

        Args:
            key: As `key_of` gives it.
            about: What the entry is, for people: stage, label, what it was made of.
            make: Fills an empty folder.
        """
        from filelock import FileLock, Timeout

        place = self.folder / key
        if self._read(place):
            return place
        lock = FileLock(self.folder / f"{key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("%s: another process is making it; waiting", about["stage"])
            lock.acquire()
        try:
            if not self._read(place):
                self._write(place, about, make)
        finally:
            lock.release()
        return place

    def _write(self, place: Path, about: dict[str, Any], make: Callable[[Path], None]) -> None:
        work = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=self.folder))
        try:
            make(work)
            files = sorted(path for path in work.rglob("*") if path.is_file())
            sums = {path.relative_to(work).as_posix(): sha256_of(path) for path in files}
            manifest = {"key": place.name, "about": about, "files": sums}
            (work / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
            for path in (*files, work / MANIFEST, work):
                _flush(path)
            work.rename(place)
            _flush(self.folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _read(self, place: Path) -> bool:
        """Tell whether an entry is there and whole; a damaged one is set aside."""
        if not place.is_dir():
            return False
        if fault := find_fault(place):
            aside = place.with_name(f"{place.name}.damaged-{os.getpid()}")
            place.rename(aside)
            log.warning("store: %s; set aside as %s, making it again", fault, aside.name)
            return False
        return True


def find_fault(place: Path) -> str | None:
    """Compare an entry with its manifest; name the first file that is not as it was written."""
    try:
        files = json.loads((place / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError) as error:
        return f"{place.name}/{MANIFEST} cannot be read ({error})"
    for name, digest in files.items():
        path = place / name
        if not path.is_file():
            return f"{place.name}/{name} is missing"
        if sha256_of(path) != digest:
            return f"{place.name}/{name} is damaged"
    return None


def key_of(*parts: Any) -> str:
    """Hash plain data into a key; equal data give equal keys in any process."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def sha256_of(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def code_of(*modules: str) -> str:
    """Hash the sources of modules, a package with all its files: mended code, new keys."""
    from importlib.util import find_spec

    digest = hashlib.sha256()
    for module in modules:
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            continue
        origin = Path(spec.origin)
        files = sorted(origin.parent.glob("*.py")) if origin.name == "__init__.py" else [origin]
        for file in files:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
