"""A store in an object store, such as S3: the same guarantees without a shared disk.

Entries are downloaded into a local folder and used from there. An entry exists once its manifest
does: that is written last, in one request, and its checksums are compared after every download. The
maker of an entry holds a lease, an object that only one can create; a dead one stops renewing it.
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
from paredown.store.entry import MANIFEST, find_fault, folder_beside
from paredown.store.local import Store
from paredown.store.space import is_full
from paredown.trust import MACHINE_CODE, require_allowed, stays_within

log = logging.getLogger(__name__)

T = TypeVar("T")

UNSENT = ".unsent"  # beside a local entry that has not been uploaded yet
MARK = ".paredown"  # written at every start: a place that cannot be written is of no use
BEAT = 10.0  # seconds between two renewals of a lease
DEAD = 60.0  # a lease that was not renewed for so long may be taken
POLL = 1.0


class RemoteStore(Store):
    """Entries by key, below a URL that fsspec knows.

    Args:
        url: Such as s3://bucket/paredown; its client reads credentials and endpoint, mostly from
            the environment.
        folder: Local cache of the entries that are used.

    Raises:
        ConfigError: If the place cannot be reached, or the package for it is missing.
    """

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(folder)
        from fsspec.core import url_to_fs

        rule = f"store.folder must be a URL that can be read and written, got {hide_passwords(url)}"
        try:
            self._fs, root = url_to_fs(url, use_listings_cache=False)
            self._fs.pipe_file(f"{root.rstrip('/')}/{MARK}", b"")
        except ImportError as error:
            raise ConfigError(f"{rule}: {error}; {install_command('s3')}") from error
        except Exception as error:  # each client has errors of its own
            reason = first_line(error)
            no_credentials = "credential" in reason.lower()
            hint = "; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if no_credentials else ""
            raise ConfigError(f"{rule}: {reason}{hint}") from error
        self._root, self._url, self._warned = root.rstrip("/"), url, False

    def has(self, key: str) -> bool:
        """Return whether there is an entry, cached or in the object store."""
        path = f"{self._root}/{key}/{MANIFEST}"
        return super().has(key) or bool(self._request(lambda: self._fs.exists(path)))

    def produce(self, place: Path, about: dict[str, Any], make: Callable[[Path], None]) -> None:
        """Download an entry; or make it, while all others wait, and upload it."""
        if self._request(lambda: self._download(place)):
            return
        with self._lease(place.name, str(about["stage"])):
            if self._request(lambda: self._download(place)):  # another worker has made it meanwhile
                return
            super().produce(place, about, make)
            self._try_upload(place)

    def _download(self, place: Path) -> bool:
        """Copy an entry here, compared with its manifest; False if there is no intact one."""
        remote = f"{self._root}/{place.name}"
        try:
            manifest = self._fs.cat_file(f"{remote}/{MANIFEST}")
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
                    self._fs.get_file(f"{remote}/{name}", str(work / name))
            (work / MANIFEST).write_bytes(manifest)
            fault = find_fault(work)
            if fault is None:
                work.rename(place)
                return True
        finally:
            shutil.rmtree(work, ignore_errors=True)
        log.warning("store: %s of %s; making it again", fault, place.name)
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{remote}/{MANIFEST}")
        return False

    def _request(self, send: Callable[[], T]) -> T | None:
        """Send a request to the object store; return None while it is away, logged once."""
        try:
            return send()
        except Exception as error:  # each client has errors of its own
            if is_full(error) or isinstance(error, ConfigError | RunError):
                raise
            if not self._warned:
                log.warning(
                    "store.folder %s does not answer (%s); results are kept in %s until it does",
                    hide_passwords(self._url),
                    first_line(error),
                    self.folder,
                )
            self._warned = True
            return None

    def get(self, key: str, about: dict[str, Any], make: Callable[[Path], None]) -> Path:
        """Return the folder of an entry as `Store` does, uploaded if it could not be before."""
        place = super().get(key, about, make)
        if (self.folder / f"{key}{UNSENT}").exists():
            self._try_upload(place)
        return place

    def _try_upload(self, place: Path) -> None:
        """Upload an entry, its manifest last, and mark one that could not be uploaded."""

        def upload() -> bool:
            names = json.loads((place / MANIFEST).read_text())["files"]
            for name in (*names, MANIFEST):
                self._fs.put_file(str(place / name), f"{self._root}/{place.name}/{name}")
            return True

        mark = place.with_name(place.name + UNSENT)
        mark.touch()
        if self._request(upload):
            mark.unlink(missing_ok=True)

    @contextmanager
    def _lease(self, key: str, stage: str) -> Iterator[None]:
        """Hold the lease on an entry, so that nobody else makes it.

        While the object store is away there are no leases, and an entry may be made twice.
        """
        path = f"{self._root}/{key}.lease"
        own = {**owner(), "token": secrets.token_hex(8)}
        if not self._request(lambda: self._acquire(path, own, stage)):
            yield
            return
        stop = threading.Event()
        heart = threading.Thread(target=self._renew, args=(path, own, stop), daemon=True)
        heart.start()
        try:
            yield
        finally:
            stop.set()
            heart.join()
            with contextlib.suppress(Exception):  # it is away, and the lease expires by itself
                self._fs.rm_file(path)

    def _acquire(self, path: str, own: dict[str, Any], stage: str) -> bool:
        """Create a lease, once nobody else holds it."""
        waits, last, since = False, b"", time.monotonic()
        while True:
            try:
                self._fs.pipe_file(path, _content(own, 0), mode="create")
                return True
            except FileExistsError:
                if not waits:
                    log.info("%s: another worker is making it; waiting", stage)
                waits = True
            with contextlib.suppress(FileNotFoundError):
                current = self._fs.cat_file(path)
                if current != last:
                    last, since = current, time.monotonic()
                elif time.monotonic() - since > DEAD:
                    log.warning("%s: the worker that made it has died; making it", stage)
                    self._fs.rm_file(path)
            time.sleep(POLL)

    def _renew(self, path: str, own: dict[str, Any], stop: threading.Event) -> None:
        """Rewrite the lease at every beat, which shows others that its holder is alive."""
        beat = 0
        while not stop.wait(BEAT):
            beat += 1
            with contextlib.suppress(Exception):  # a client's own errors; the next may arrive
                self._fs.pipe_file(path, _content(own, beat))


def _names(manifest: bytes) -> list[str]:
    """List the files of an entry; none if its manifest is damaged or names a file outside."""
    try:
        names = list(json.loads(manifest)["files"])
    except (ValueError, KeyError, TypeError):
        return []
    return names if all(map(stays_within, names)) else []


def _content(own: dict[str, Any], beat: int) -> bytes:
    return json.dumps({**own, "beat": beat}).encode()
