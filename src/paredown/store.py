"""What was computed is kept, under a key made of everything that determines it.

An entry is a folder. It is made beside its place, flushed, and moved there in one rename, its
manifest (sha256 of every file) written last; whoever reads it checks the manifest first. Of
several processes that need the same entry one makes it and the others wait.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from paredown.describe import NO_SPACE, sha256_of
from paredown.errors import RunError, require
from paredown.trust import stays_within

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
OFF = "off"


@dataclass(frozen=True)
class StoreFolder:
    """Where results are kept.

    Args:
        folder: A path; null for the user's cache folder; `off` to keep nothing; or a URL such as
            s3://bucket/folder, of which the cache folder keeps what is used.
    """

    folder: str | None

    @contextmanager
    def open(self) -> Iterator["Store"]:
        """Give a Store; one that is off lasts until the end of the block."""
        if self.folder == OFF:
            with tempfile.TemporaryDirectory(prefix="paredown-") as folder:
                yield Store(Path(folder))
            return
        if self.is_remote:
            from paredown.remote import RemoteStore

            yield RemoteStore(str(self.folder), self.path)
            return
        yield Store(self.path)

    @property
    def path(self) -> Path:
        """The folder of a store that is not off; what of a remote one is kept here."""
        if self.folder is not None and not self.is_remote:
            return Path(self.folder).expanduser().absolute()
        from platformdirs import user_cache_path

        cache = user_cache_path("paredown")
        return cache / "remote" / key_of(self.folder) if self.folder else cache / "store"

    @property
    def is_remote(self) -> bool:
        """Whether it is an object store, which others may write to."""
        return self.folder is not None and "://" in self.folder


class Store:
    """Entries by key, in one folder that any number of processes may share."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._aside: tempfile.TemporaryDirectory[str] | None = None

    def has(self, key: str) -> bool:
        """Tell whether an entry is there; nothing is read."""
        return (self.folder / key).is_dir()

    def get(self, key: str, about: dict[str, Any], make: Callable[[Path], None]) -> Path:
        """Return the folder of an entry, made first if it is not there or damaged.

        Args:
            key: As `key_of` gives it.
            about: What the entry is, for people: stage, label, what it was made of.
            make: Fills an empty folder.
        """
        from filelock import FileLock, Timeout

        place = self.folder / key
        if place.is_dir() and find_fault(place) is None:
            with contextlib.suppress(OSError):  # a store that cannot be written keeps no dates
                os.utime(place)  # used now: cleaning takes the longest unused
            return place
        if not os.access(self.folder, os.W_OK):
            return self._without_keeping(key, about, make)
        lock = FileLock(self.folder / f"{key}.lock")  # the kernel frees a dead owner's
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("%s: another process is making it; waiting", about["stage"])
            lock.acquire()
        try:
            for left in self.folder.glob(f".{key}-*"):  # by a process that died
                shutil.rmtree(left)
            if not self._is_whole(place):
                self._write(place, about, make)
        finally:
            lock.release()
        return place

    def _without_keeping(
        self, key: str, about: dict[str, Any], make: Callable[[Path], None]
    ) -> Path:
        """Make an entry of a store that cannot be written in a folder that goes with us."""
        if self._aside is None:
            log.warning("store.folder %s cannot be written; results are not kept", self.folder)
            self._aside = tempfile.TemporaryDirectory(prefix="paredown-")
        place = Path(self._aside.name) / key
        if not place.is_dir():
            self._write(place, about, make)
        return place

    def _write(self, place: Path, about: dict[str, Any], make: Callable[[Path], None]) -> None:
        work = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
        try:
            make(work)
            files = sorted(path for path in work.rglob("*") if path.is_file())
            sums = {path.relative_to(work).as_posix(): sha256_of(path) for path in files}
            manifest = {"key": place.name, "about": about, "files": sums}
            (work / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
            for path in (*files, work / MANIFEST, work):
                _flush(path)
            work.rename(place)
            _flush(place.parent)
        except Exception as error:
            if is_full(error):
                made = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
                raise RunError(
                    f"{place}: the disk is full after {made:,} bytes of {about['stage']}; what was "
                    "kept before is whole. Make room (make store-clean) or set store.folder"
                ) from error
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _is_whole(self, place: Path) -> bool:
        """Tell whether an entry is there, under its lock; a damaged one is set aside."""
        if not place.is_dir():
            return False
        fault = find_fault(place)
        if fault is not None:
            aside = tempfile.mkdtemp(prefix=f"{place.name}.damaged-", dir=self.folder)
            place.rename(aside)  # onto an empty folder, which a rename replaces
            log.warning("store: %s; set aside as %s, making it again", fault, Path(aside).name)
        return fault is None


def find_fault(place: Path) -> str | None:
    """Compare an entry with its manifest; name the first file that is not as it was written.

    Others may have written the manifest: no file outside of the entry is looked at.
    """
    try:
        files = dict(json.loads((place / MANIFEST).read_text())["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{place.name}/{MANIFEST} cannot be read ({error})"
    for name, digest in files.items():
        if not stays_within(name):
            return f"{place.name}/{MANIFEST} names a file that is not within it ({name!r})"
        path = place / name
        if not path.is_file():
            return f"{place.name}/{name} is missing"
        if sha256_of(path) != digest:
            return f"{place.name}/{name} is damaged"
    return None


def is_full(error: Exception) -> bool:
    """Tell whether a write failed for want of room; safetensors gives the number in words only."""
    told = re.search(r"os error (\d+)", str(error))
    number = int(told.group(1)) if told else getattr(error, "errno", None)
    return number in NO_SPACE


def key_of(*parts: Any) -> str:
    """Hash plain data into a key; equal data give equal keys in any process."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@cache
def code_of(*modules: ModuleType) -> str:
    """Hash the sources of modules, a package with all in it, nested ones too.

    Mended code gets new keys.

    Raises:
        ConfigError: For a module without a file: its code could change unseen.
    """
    digest = hashlib.sha256()
    for module in modules:
        for name, file in _sources(module):
            digest.update(f"{name}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _sources(module: ModuleType) -> list[tuple[str, Path]]:
    """List the source files of a module, each with its name within the package."""
    roots = [Path(root) for root in getattr(module, "__path__", ())]
    files = [(f.relative_to(root).as_posix(), f) for root in roots for f in root.rglob("*.py")]
    if not roots and (origin := getattr(module, "__file__", None)):
        files = [(Path(origin).name, Path(origin))]
    rule, hint = "have its source in a file, which counts in every key", "write it into one"
    there = bool(files) and all(file.is_file() for _, file in files)
    require(there, f"module {module.__name__}", rule, getattr(module, "__file__", None), hint)
    return sorted(files)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
