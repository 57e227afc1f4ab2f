"""Content-addressed cache of results; the key covers everything that determines them.

An entry is a folder. It is made beside its place, flushed, and moved there in one rename, its
manifest (sha256 of every file) written last; readers check the manifest first. Of several processes
that need the same entry one makes it and the others wait.

Hand-written because it guarantees more than the cache libraries: exact bytes on disk after a crash,
one maker per entry, and damage found before use.
"""

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from paredown.store.entry import find_fault, folder_beside, write_entry
from paredown.store.space import full_disk, is_full
from paredown.store.use import Use

log = logging.getLogger(__name__)


class Store:
    """Entries by key, in one folder that any number of processes may share."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.use = Use(folder)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def has(self, key: str) -> bool:
        """Return whether there is an entry; nothing is read."""
        return (self.folder / key).is_dir()

    def get(self, key: str, about: dict[str, Any], make: Callable[[Path], None]) -> Path:
        """Return the folder of an entry, made first if it is missing or damaged.

        Cleaning leaves it where it is as long as this store is in use. `about` describes it, for
        people; `make` fills an empty folder, a second time if that folder is removed meanwhile.
        Raises ConfigError if the entry belongs to another user and may not be read.
        """
        place = self.folder / key
        with contextlib.suppress(OSError):  # the folder may have been removed
            self.folder.mkdir(parents=True, exist_ok=True)
        self.use.add(key)
        if place.is_dir() and find_fault(place) is None:
            with contextlib.suppress(OSError):  # a store that cannot be written records no dates
                os.utime(place)  # used now: cleaning removes the longest unused
            return place
        if not os.access(self.folder, os.W_OK):
            return self._in_temporary(key, about, make)
        lock = FileLock(self.folder / f"{key}.lock")  # the kernel frees a dead owner's
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("%s: another process is making it; waiting", about["stage"])
            lock.acquire()
        try:
            for remnant in self.folder.glob(f".{key}-*"):  # of a process that died
                shutil.rmtree(remnant, ignore_errors=True)  # another user's may have to stay
            if not self._is_intact(place):
                self.produce(place, about, make)
        finally:
            lock.release()
        return place

    def forget(self, key: str) -> None:
        """Remove an entry that is not valid any more, if it may be removed."""
        place = self.folder / key
        with contextlib.suppress(OSError), FileLock(self.folder / f"{key}.lock"):
            remnant = place.with_name(f".{key}-{secrets.token_hex(4)}")
            place.rename(remnant)
            shutil.rmtree(remnant, ignore_errors=True)

    def produce(self, place: Path, about: dict[str, Any], make: Callable[[Path], None]) -> None:
        """Write a missing entry; a hook for stores that may have it elsewhere."""
        work = folder_beside(place)
        try:
            try:
                write_entry(work, place, about, make)
            except Exception:
                if work.is_dir():
                    raise
                log.warning("store: %s was removed while it was made; making it again", place.name)
                work.mkdir(parents=True)
                write_entry(work, place, about, make)
        except Exception as error:
            if not is_full(error):
                raise
            raise full_disk(error, place, work, about["stage"]) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _in_temporary(self, key: str, about: dict[str, Any], make: Callable[[Path], None]) -> Path:
        """Return an entry of a read-only store, made in a temporary folder."""
        if self._temporary is None:
            log.warning("store.folder %s cannot be written; results are not kept", self.folder)
            self._temporary = tempfile.TemporaryDirectory(prefix="paredown-")
        place = Path(self._temporary.name) / key
        if not place.is_dir():
            self.produce(place, about, make)
        return place

    def _is_intact(self, place: Path) -> bool:
        """Return whether there is an entry, under its lock; a damaged one is set aside."""
        if not place.is_dir():
            return False
        fault = find_fault(place)
        if fault is not None:
            aside = place.with_name(f"{place.name}.damaged-{secrets.token_hex(4)}")
            place.rename(aside)
            log.warning("store: %s; set aside as %s, making it again", fault, aside.name)
        return fault is None
