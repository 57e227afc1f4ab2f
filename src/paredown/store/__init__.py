"""The store of results: a folder on this machine, a temporary one, or an object store."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from paredown.store.hashing import key_of
from paredown.store.local import Store

OFF = "off"


@dataclass(frozen=True)
class StoreFolder:
    """Location of the store.

    Args:
        folder: A path; null for the user's cache folder; `off` to store nothing; or a URL such as
            s3://bucket/folder, whose used entries are cached in the cache folder.
    """

    folder: str | None

    @contextmanager
    def open(self) -> Iterator[Store]:
        """Yield a Store; one that is off lasts until the end of the block."""
        if self.folder == OFF:
            with tempfile.TemporaryDirectory(prefix="paredown-") as folder:
                yield Store(Path(folder))
            return
        store = Store(self.path)
        if self.is_remote:
            from paredown.store.remote import RemoteStore

            store = RemoteStore(str(self.folder), self.path)
        try:
            yield store
        finally:
            store.use.end()

    @property
    def path(self) -> Path:
        """Local folder of a store that is not off; of a remote one its cache."""
        if self.folder is not None and not self.is_remote:
            return Path(self.folder).expanduser().absolute()
        from platformdirs import user_cache_path

        cache = user_cache_path("paredown")
        return cache / "remote" / key_of(self.folder) if self.folder else cache / "store"

    @property
    def is_remote(self) -> bool:
        """Whether it is an object store, which others may write to."""
        return self.folder is not None and "://" in self.folder
