"""A store that lies in an object store, such as S3: the same guarantees without a shared disk.

Entries are used from a local folder, and fetched into it. One is there when its manifest is: that
is written last, in one request, and its checksums are compared after every download. Who makes an
entry holds a lease on it, an object that only one can create; a dead holder stops renewing it.
"""

import contextlib
import json
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from paredown.errors import ConfigError, RunError, first_line, install_command
from paredown.host.process import owner
from paredown.printable import hide_passwords
from paredown.store.local import MANIFEST, Store, find_fault, folder_beside, is_full
from paredown.trust import MACHINE_CODE, require_allowed, stays_within

log = logging.getLogger(__name__)

T = TypeVar("T")

UNSENT = ".unsent"  # beside an entry that is here and not there yet
MARK = ".paredown"  # written at every start: a place that cannot be written is of no use
BEAT = 10.0  # seconds between two renewals of a lease
DEAD = 60.0  # a lease that was not renewed for so long is anybody's
POLL = 1.0


class RemoteStore(Store):
    """Entries by key, below a URL that fsspec knows.

    Args:
        url: Such as s3://bucket/paredown; credentials and endpoint come from where its client
            takes them, mostly the environment.
        folder: Local; what is used is kept here too.

    Raises:
        ConfigError: If the place cannot be reached, or the package for it is missing.
    """

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(folder)
        from fsspec.core import url_to_fs

        told = f"store.folder must be a URL that can be read and written, got {hide_passwords(url)}"
        try:
            self._fs, root = url_to_fs(url, use_listings_cache=False)
            self._fs.pipe_file(f"{root.rstrip('/')}/{MARK}", b"")
        except ImportError as error:
            raise ConfigError(f"{told}: {error}; {install_command('s3')}") from error
        except Exception as error:  # each client has errors of its own
            reason = first_line(error)
            lacks = "credential" in reason.lower()
            hint = "; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if lacks else ""
            raise ConfigError(f"{told}: {reason}{hint}") from error
        self._root, self._url, self._told_away = root.rstrip("/"), url, False

    def has(self, key: str) -> bool:
        """Tell whether an entry is here or there."""
        path = f"{self._root}/{key}/{MANIFEST}"
        return super().has(key) or bool(self._reach(lambda: self._fs.exists(path)))

    def _write(self, place: Path, about: dict[str, Any], make: Callable[[Path], None]) -> None:
        """Fetch an entry; or make it, while all others wait, and send it."""
        if self._reach(lambda: self._fetch(place)):
            return
        with self._lease(place.name, str(about["stage"])):
            if self._reach(lambda: self._fetch(place)):  # somebody made it while we waited
                return
            super()._write(place, about, make)
            self._try_to_send(place)

    def _fetch(self, place: Path) -> bool:
        """Copy an entry here, compared with its manifest; False if there is no whole one."""
        there = f"{self._root}/{place.name}"
        try:
            manifest = self._fs.cat_file(f"{there}/{MANIFEST}")
        except FileNotFoundError:
            return False
        names = _names(manifest)
        for name in names:
            if Path(name).suffix in MACHINE_CODE:
                rule = "hold no machine code of others"
                require_allowed(Path(name).name, f"store.folder {self._root}", rule)
        work = folder_beside(place)
        try:
            for name in names:
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):
                    self._fs.get_file(f"{there}/{name}", str(work / name))
            (work / MANIFEST).write_bytes(manifest)
            fault = find_fault(work)
            if fault is None:
                work.rename(place)
                return True
        finally:
            shutil.rmtree(work, ignore_errors=True)
        log.warning("store: %s of %s; making it again", fault, place.name)
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{there}/{MANIFEST}")
        return False

    def _reach(self, attempt: Callable[[], T]) -> T | None:
        """Ask the object store; return None while it is away, which is told once."""
        try:
            return attempt()
        except Exception as error:  # each client has errors of its own
            if is_full(error) or isinstance(error, ConfigError | RunError):
                raise
            if not self._told_away:
                log.warning(
                    "store.folder %s does not answer (%s); results are kept in %s and sent later",
                    hide_passwords(self._url),
                    first_line(error),
                    self.folder,
                )
            self._told_away = True
            return None

    def get(self, key: str, about: dict[str, Any], make: Callable[[Path], None]) -> Path:
        """Return the folder of an entry as `Store` does; send one that could not be sent before."""
        place = super().get(key, about, make)
        if (self.folder / f"{key}{UNSENT}").exists():
            self._try_to_send(place)
        return place

    def _try_to_send(self, place: Path) -> None:
        """Send an entry, and remember one that could not be sent."""
        mark = place.with_name(place.name + UNSENT)
        mark.touch()
        if self._reach(lambda: self._send(place)):
            mark.unlink(missing_ok=True)

    def _send(self, place: Path) -> bool:
        """Copy an entry there, its manifest last."""
        names = json.loads((place / MANIFEST).read_text())["files"]
        for name in (*names, MANIFEST):
            self._fs.put_file(str(place / name), f"{self._root}/{place.name}/{name}")
        return True

    @contextmanager
    def _lease(self, key: str, stage: str) -> Iterator[None]:
        """Be the only one who makes an entry; wait while somebody else is.

        While the object store is away nobody can tell, and an entry may be made twice.
        """
        path = f"{self._root}/{key}.lease"
        own = {**owner(), "token": secrets.token_hex(8)}
        if not self._reach(lambda: self._take(path, own, stage)):
            yield
            return
        done = threading.Event()
        beat = threading.Thread(target=self._renew, args=(path, own, done), daemon=True)
        beat.start()
        try:
            yield
        finally:
            done.set()
            beat.join()
            with contextlib.suppress(Exception):  # it is away, and the lease dies by itself
                self._fs.rm_file(path)

    def _take(self, path: str, own: dict[str, Any], stage: str) -> bool:
        """Create a lease, once nobody else holds it."""
        told, seen, since = False, b"", time.monotonic()
        while not self._create(path, _content(own, 0)):
            if not told:
                log.info("%s: another worker is making it; waiting", stage)
                told = True
            with contextlib.suppress(FileNotFoundError):
                now = self._fs.cat_file(path)
                if now != seen:
                    seen, since = now, time.monotonic()
                elif time.monotonic() - since > DEAD:
                    log.warning("%s: whoever made it has died; making it", stage)
                    self._fs.rm_file(path)
            time.sleep(POLL)
        return True

    def _create(self, path: str, content: bytes) -> bool:
        """Create an object that must not exist, in one request; False if it does."""
        try:
            self._fs.pipe_file(path, content, mode="create")
        except FileExistsError:
            return False
        return True

    def _renew(self, path: str, own: dict[str, Any], done: threading.Event) -> None:
        """Write the lease again and again, so that others see its holder alive."""
        beat = 0
        while not done.wait(BEAT):
            beat += 1
            with contextlib.suppress(Exception):  # a client's own errors; the next may arrive
                self._fs.pipe_file(path, _content(own, beat))


def _names(manifest: bytes) -> list[str]:
    """List the files of an entry; none if its manifest is spoilt, or names one outside of it."""
    try:
        names = list(json.loads(manifest)["files"])
    except (ValueError, KeyError, TypeError):
        return []
    return names if all(map(stays_within, names)) else []


def _content(own: dict[str, Any], beat: int) -> bytes:
    return json.dumps({**own, "beat": beat}).encode()
