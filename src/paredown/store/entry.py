"""An entry of a store on disk: a folder with a manifest, written last and checked by readers."""

import errno
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paredown.errors import ConfigError
from paredown.host.files import flush
from paredown.store.hashing import sha256_of
from paredown.trust import stays_within

MANIFEST = "manifest.json"
DAMAGE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.ELOOP)


def write_entry(
    work: Path, place: Path, about: dict[str, Any], make: Callable[[Path], None]
) -> None:
    """Fill an empty folder on the same disk, write its manifest, and move it to its place."""
    make(work)
    share(work)
    files = sorted(path for path in work.rglob("*") if path.is_file())
    sums = {path.relative_to(work).as_posix(): sha256_of(path) for path in files}
    manifest = {"key": place.name, "about": about, "files": sums}
    (work / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    for path in (*files, work / MANIFEST, work):
        flush(path)
    work.rename(place)
    flush(place.parent)


def find_fault(place: Path) -> str | None:
    """Return the first difference between an entry and its manifest; None if there is none.

    Others may have written the manifest: no file outside of the entry is read.

    Raises:
        ConfigError: If it may not be read, which is no damage.
        OSError: If the system cannot read at all, such as without free file handles.
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
        raise ConfigError(
            f"store.folder must hold entries that may be read, got {error.filename}; let its owner "
            "run chmod -R g+rX on it, or set store.folder"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        return f"{place.name}/{MANIFEST} cannot be read ({error})"
    except OSError as error:
        if error.errno not in DAMAGE:
            raise
        return f"{place.name}/{MANIFEST} cannot be read ({error})"
    return None


def folder_beside(place: Path) -> Path:
    """Create a folder of a new name beside an entry's place, with the rights that umask leaves."""
    work = place.with_name(f".{place.name}-{secrets.token_hex(4)}")
    work.mkdir(parents=True)
    return work


def share(work: Path) -> None:
    """Grant those who may read an entry's folder access to its files, whatever a library set."""
    readers = work.stat().st_mode & 0o044
    for path in work.rglob("*"):
        mode = path.stat().st_mode
        shared = mode | readers | (readers >> 2 if path.is_dir() else 0)
        if mode != shared:
            path.chmod(shared)
