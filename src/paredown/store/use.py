"""Entries of a store that are in use, which cleaning leaves.

A process that reads entries lists their keys in a file under the store's `.use`, beside a lock that
the kernel frees when it dies. A reader lists a key and then opens the entry; a cleaner reads the
lists and then moves an entry away, both under one lock: so neither misses the other.
"""

import contextlib
from pathlib import Path

from filelock import FileLock

from paredown.host.process import is_free, living

USE, TURN, KEYS, LOCK = ".use", "turn.lock", ".keys", ".lock"


class Use:
    """The entries of a store that one process reads; nothing is written before the first."""

    def __init__(self, store: Path) -> None:
        self._folder = store / USE
        self._lock: FileLock | None = None
        self._keys: set[str] = set()

    def add(self, key: str) -> None:
        """List an entry before it is opened; without effect where nothing can be written."""
        if key in self._keys and self._file.is_file():
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            with turn(self._folder):
                if self._lock is None or not Path(self._lock.lock_file).exists():
                    self._lock = living(self._folder, "")
                self._keys.add(key)
                self._file.write_text("\n".join(sorted(self._keys)) + "\n")

    def end(self) -> None:
        """Release all entries."""
        if self._lock is None:
            return
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)
            Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()
        self._lock = None
        self._keys.clear()

    @property
    def _file(self) -> Path:
        return Path(self._lock.lock_file if self._lock else self._folder).with_suffix(KEYS)


def turn(folder: Path) -> FileLock:
    """Return the lock on the lists of keys."""
    return FileLock(folder / TURN)


def in_use(store: Path) -> set[str]:
    """List the keys that living processes read, and remove the lists of dead ones. Hold `turn`."""
    keys: set[str] = set()
    for file in (store / USE).glob(f"*{KEYS}"):
        lock = file.with_suffix(LOCK)
        if not lock.exists() or is_free(lock):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
        else:
            keys |= set(file.read_text().split())
    return keys
