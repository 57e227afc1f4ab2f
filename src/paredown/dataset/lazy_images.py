"""Images that stay on disk: decoded on access, or mapped from one decoded file."""

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from paredown.dataset import Images, Indices, LazyImages
from paredown.dataset.images import BROKEN, View, read
from paredown.dataset.listing import Listing
from paredown.errors import RunError
from paredown.host.logs import Pulse

log = logging.getLogger(__name__)

PIXELS, LEFT_OUT = "images.npy", "broken.json"
UNSURE = "unsure.json"  # those of broken.json whose reading may succeed later
PAUSES = (0.1, 0.5)  # seconds before a retry
CHUNK = 256  # images decoded between two writes


@dataclass(frozen=True)
class Decoded(LazyImages):
    """Images of a folder, decoded by several threads on access.

    Args:
        root: The folder.
        names: Paths below it.
        view: Size, channels and resizing.
        source: Digest of the folder.
    """

    root: Path
    names: NDArray[np.bytes_]
    view: View
    source: str

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number of images, channels, height and width."""
        return len(self.names), *self.view.shape

    @property
    def crops(self) -> bool:
        """Whether training sees a new random crop on every access."""
        return self.view.area < 1

    @property
    def digest(self) -> str:
        """Hash of the folder, of the selection, and of the view."""
        center, *more = self.view.resize.identity
        settings = (self.source, self.view.size, center, self.view.area, *more)
        return hashlib.sha256(repr(settings).encode() + self.names.tobytes()).hexdigest()

    def take(self, indices: NDArray[np.int64]) -> "Decoded":
        """Return a selection of these images."""
        return replace(self, names=self.names[indices])

    def __getitem__(self, indices: Indices) -> Images:
        """Decode images."""
        names = self.names[indices]
        return self._read(names, [None] * len(names))

    def draw(self, indices: NDArray[np.int64], rng: np.random.Generator) -> Images:
        """Decode images with new random crops, unless the view's area is 1."""
        if not self.crops:
            return self[indices]
        seeds = rng.integers(2**63, size=len(indices)).tolist()  # threads end in any order
        return self._read(self.names[indices], seeds)

    def _read(self, names: NDArray[np.bytes_], seeds: Sequence[int | None]) -> Images:
        def read_one(name: bytes, seed: int | None) -> Images:
            path = self.root / os.fsdecode(name)
            try:
                return read_with_retries(path, self.view, seed)
            except BROKEN as error:
                reason = f"it was readable when the folder was scanned: {error}"
                raise RunError(f"{path} cannot be read; {reason}") from error

        with ThreadPoolExecutor(self.view.workers) as pool:
            return np.stack(list(pool.map(read_one, names.tolist(), seeds)))


@dataclass(frozen=True)
class Mapped(LazyImages):
    """Images that were decoded once, into a file that is mapped into memory.

    Args:
        images: (N, C, H, W), of all in the file.
        indices: The selection, in its order.
        source: Digest of the file.
    """

    images: Images
    indices: NDArray[np.int64]
    source: str

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number of images, channels, height and width."""
        _, channels, height, width = self.images.shape
        return len(self.indices), channels, height, width

    @property
    def digest(self) -> str:
        """Hash of the file and of the selection."""
        return hashlib.sha256(self.source.encode() + self.indices.tobytes()).hexdigest()

    def take(self, indices: NDArray[np.int64]) -> "Mapped":
        """Return a selection of these images."""
        return replace(self, indices=self.indices[indices])

    def __getitem__(self, indices: Indices) -> Images:
        """Copy images out of the file."""
        return self.images[self.indices[indices]]


def scan(listing: Listing, view: View, folder: Path, keep: bool) -> None:
    """Decode every image of a listing once, and write which are broken, and why.

    Writes broken.json, unsure.json, and with `keep` images.npy, where a broken image is black.
    """
    black = np.zeros(view.shape, np.uint8)
    broken: dict[str, str] = {}
    unsure: list[str] = []

    def decode(name: bytes) -> tuple[Images, str]:
        try:
            return read_with_retries(listing.root / os.fsdecode(name), view), ""
        except BROKEN as error:
            if is_transient(error):
                unsure.append(os.fsdecode(name))
            return black, " ".join(str(error).split()) or type(error).__name__

    with (folder / PIXELS if keep else Path(os.devnull)).open("wb") as file:
        shape = (len(listing.names), *black.shape)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        with ThreadPoolExecutor(view.workers) as pool:
            for names in _chunks(listing):
                for name, (pixels, fault) in zip(names, pool.map(decode, names), strict=True):
                    file.write(pixels.tobytes())  # a mapped file would count as our memory
                    if fault:
                        broken[os.fsdecode(name)] = fault
    (folder / LEFT_OUT).write_text(json.dumps(broken, indent=1) + "\n")
    (folder / UNSURE).write_text(json.dumps(sorted(unsure), indent=1) + "\n")


def is_transient(error: Exception) -> bool:
    """Return whether reading failed, as on a network disk, rather than decoding."""
    return isinstance(error, OSError) and error.errno is not None  # Pillow's own have no number


def read_with_retries(path: Path, view: View, seed: int | None = None) -> Images:
    """Read an image as `read` does, with retries after transient failures."""
    for pause in PAUSES:
        try:
            return read(path, view, seed)
        except PermissionError:
            raise
        except OSError as error:
            if not is_transient(error):
                raise
            time.sleep(pause)
    return read(path, view, seed)


def _chunks(listing: Listing) -> Iterator[list[bytes]]:
    """Yield the names in chunks, behind a progress bar; silent when stderr is no terminal."""
    names, quiet, pulse = listing.names, not sys.stderr.isatty(), Pulse()
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task(f"decoding {listing.root.name}", total=len(names))
        for start in range(0, len(names), CHUNK):
            yield names[start : start + CHUNK].tolist()
            bar.advance(task, CHUNK)
            if pulse.due():
                count = start + CHUNK
                log.info("decoding %s: %d of %d images", listing.root.name, count, len(names))
