"""What was computed is kept, under a key made of everything that determines it.

An entry is a folder. It is made beside its place, flushed, and moved there in one rename, its
manifest (sha256 of every file) written last; whoever reads it checks the manifest first. Of
several processes that need the same entry one makes it and the others wait.
"""

import contextlib
import errno
import json
import logging
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paredown.errors import NO_SPACE, ConfigError, RunError
from paredown.store.hashing import sha256_of
from paredown.store.use import Use
from paredown.trust import stays_within

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
DAMAGE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.ELOOP)
ROOM = 1_000_000  # bytes; a disk with less is called full


class Store:
    """Entries by key, in one folder that any number of processes may share."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.use = Use(folder)
        self._aside: tempfile.TemporaryDirectory[str] | None = None

    def has(self, key: str) -> bool:
        """Tell whether an entry is there; nothing is read."""
        return (self.folder / key).is_dir()

    def get(self, key: str, about: dict[str, Any], make: Callable[[Path], None]) -> Path:
        """Return the folder of an entry, made first if it is not there or damaged.

        Cleaning leaves it where it is as long as this store is in use.

        Args:
            key: As `key_of` gives it.
            about: What the entry is, for people: stage, label, what it was made of.
            make: Fills an empty folder; once more if that folder is removed meanwhile.

        Raises:
            ConfigError: If an entry is another user's who lets nobody read it.
        """
        from filelock import FileLock, Timeout

        place = self.folder / key
        with contextlib.suppress(OSError):  # a store that went is made again
            self.folder.mkdir(parents=True, exist_ok=True)
        self.use.add(key)
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
                shutil.rmtree(left, ignore_errors=True)  # another user's may have to stay
            if not self._is_whole(place):
                self._write(place, about, make)
        finally:
            lock.release()
        return place

    def forget(self, key: str) -> None:
        """Remove an entry that does not hold any more, if it may be removed."""
        from filelock import FileLock

        place = self.folder / key
        with contextlib.suppress(OSError), FileLock(self.folder / f"{key}.lock"):
            left = place.with_name(f".{key}-{secrets.token_hex(4)}")
            place.rename(left)
            shutil.rmtree(left, ignore_errors=True)

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
        work = folder_beside(place)
        try:
            try:
                _fill(work, place, about, make)
            except Exception:
                if work.is_dir():
                    raise
                log.warning("store: %s was removed while it was made; making it again", place.name)
                work.mkdir(parents=True)
                _fill(work, place, about, make)
        except Exception as error:
            if is_full(error):
                made = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
                if full_elsewhere(error, place.parent):
                    raise RunError(
                        f"{tempfile.gettempdir()}: the disk of temporary files is full while "
                        f"{about['stage']} was made. Make room there, or set TMPDIR"
                    ) from error
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
            aside = place.with_name(f"{place.name}.damaged-{secrets.token_hex(4)}")
            place.rename(aside)
            log.warning("store: %s; set aside as %s, making it again", fault, aside.name)
        return fault is None


def _fill(work: Path, place: Path, about: dict[str, Any], make: Callable[[Path], None]) -> None:
    """Make an entry in a folder, write its manifest last, and move it to its place."""
    make(work)
    share(work)
    files = sorted(path for path in work.rglob("*") if path.is_file())
    sums = {path.relative_to(work).as_posix(): sha256_of(path) for path in files}
    manifest = {"key": place.name, "about": about, "files": sums}
    (work / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    for path in (*files, work / MANIFEST, work):
        _flush(path)
    work.rename(place)
    _flush(place.parent)


def find_fault(place: Path) -> str | None:
    """Compare an entry with its manifest; name the first file that is not as it was written.

    Others may have written the manifest: no file outside of the entry is looked at.

    Raises:
        ConfigError: If it may not be read, which is no damage.
        OSError: If the system cannot read at all, for want of file handles for example.
    """
    try:
        files = dict(json.loads((place / MANIFEST).read_text())["files"])
        for name, digest in files.items():
            if not stays_within(name):
                return f"{place.name}/{MANIFEST} names a file that is not within it ({name!r})"
            path = place / name
            if not path.is_file():
                return f"{place.name}/{name} is missing"
            if sha256_of(path) != digest:
                return f"{place.name}/{name} is damaged"
    except PermissionError as error:
        mend = "let its owner say chmod -R g+rX of it, or set store.folder"
        told = "store.folder must hold entries that may be read"
        raise ConfigError(f"{told}, got {error.filename}; {mend}") from error
    except (ValueError, KeyError, TypeError) as error:
        return f"{place.name}/{MANIFEST} cannot be read ({error})"
    except OSError as error:
        if error.errno not in DAMAGE:
            raise
        return f"{place.name}/{MANIFEST} cannot be read ({error})"
    return None


def folder_beside(place: Path) -> Path:
    """Make a folder of a new name beside an entry's place, with the rights that umask leaves."""
    work = place.with_name(f".{place.name}-{secrets.token_hex(4)}")
    work.mkdir(parents=True)
    return work


def share(work: Path) -> None:
    """Let whoever may read an entry's folder read its files, however a library has made them."""
    readers = work.stat().st_mode & 0o044
    for path in work.rglob("*"):
        mode = path.stat().st_mode
        wanted = mode | readers | (readers >> 2 if path.is_dir() else 0)
        if mode != wanted:
            path.chmod(wanted)


def full_elsewhere(error: Exception, folder: Path) -> bool:
    """Tell whether it was the disk of temporary files, which is another one, that was full."""
    temporary = Path(tempfile.gettempdir())
    if temporary.stat().st_dev == folder.stat().st_dev:
        return False
    file = getattr(error, "filename", None)
    if file:
        return temporary in Path(str(file)).absolute().parents
    room, room_there = (shutil.disk_usage(place).free for place in (folder, temporary))
    return room_there < ROOM <= room


def is_full(error: Exception) -> bool:
    """Tell whether a write failed for want of room; safetensors gives the number in words only."""
    told = re.search(r"os error (\d+)", str(error))
    number = int(told.group(1)) if told else getattr(error, "errno", None)
    return number in NO_SPACE


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
