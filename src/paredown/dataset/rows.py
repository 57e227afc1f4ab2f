"""Rows of images that stay on disk: decoded when they are due, or mapped from one decoded file."""

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

from paredown.dataset import Images, Picked
from paredown.dataset.images import BROKEN, View, read
from paredown.dataset.listing import Listing
from paredown.errors import RunError
from paredown.host.logs import Pulse

log = logging.getLogger(__name__)

PIXELS, LEFT_OUT = "images.npy", "broken.json"
UNSURE = "unsure.json"  # names of those left out whose reading failed, which may pass
PAUSES = (0.1, 0.5)  # seconds before reading is tried again
CHUNK = 256  # images that are decoded between two writes


@dataclass(frozen=True)
class Decoded:
    """Images of a folder, each decoded by one of several threads when it is due.

    Args:
        root: The folder.
        names: Paths below it.
        view: What is shown of them.
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
        """Whether training shows another crop every time."""
        return self.view.area < 1

    @property
    def digest(self) -> str:
        """Hash of the folder, of which images are meant, and of what is shown of them."""
        center, *more = self.view.resize.identity
        shown = (self.source, self.view.size, center, self.view.area, *more)
        return hashlib.sha256(repr(shown).encode() + self.names.tobytes()).hexdigest()

    def take(self, index: NDArray[np.int64]) -> "Decoded":
        """Give rows that are some of these."""
        return replace(self, names=self.names[index])

    def __getitem__(self, picked: Picked) -> Images:
        """Decode some."""
        names = self.names[picked]
        return self._read(names, [None] * len(names))

    def draw(self, picked: NDArray[np.int64], rng: np.random.Generator) -> Images:
        """Decode some in another random crop every time, unless the view's area is 1."""
        if not self.crops:
            return self[picked]
        seeds = rng.integers(2**63, size=len(picked)).tolist()  # threads end in any order
        return self._read(self.names[picked], seeds)

    def _read(self, names: NDArray[np.bytes_], seeds: Sequence[int | None]) -> Images:
        def one(name: bytes, seed: int | None) -> Images:
            path = self.root / os.fsdecode(name)
            try:
                return read_patiently(path, self.view, seed)
            except BROKEN as error:
                told = f"it was whole when the folder was looked through: {error}"
                raise RunError(f"{path} cannot be read; {told}") from error

        with ThreadPoolExecutor(self.view.workers) as pool:
            return np.stack(list(pool.map(one, names.tolist(), seeds)))


@dataclass(frozen=True)
class Mapped:
    """Images that were decoded once, into a file that is mapped into memory.

    Args:
        images: (N, C, H, W), of all in the file.
        index: Which of them, in which order.
        source: Digest of the file.
    """

    images: Images
    index: NDArray[np.int64]
    source: str

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number of images, channels, height and width."""
        _, channels, height, width = self.images.shape
        return len(self.index), channels, height, width

    @property
    def crops(self) -> bool:
        """Never: the file has one."""
        return False

    @property
    def digest(self) -> str:
        """Hash of the file and of which of its images are meant."""
        return hashlib.sha256(self.source.encode() + self.index.tobytes()).hexdigest()

    def take(self, index: NDArray[np.int64]) -> "Mapped":
        """Give rows that are some of these."""
        return replace(self, index=self.index[index])

    def __getitem__(self, picked: Picked) -> Images:
        """Copy some out of the file."""
        return self.images[self.index[picked]]

    def draw(self, picked: NDArray[np.int64], rng: np.random.Generator) -> Images:
        """Copy some out of the file; training shows them as they are."""
        return self[picked]


def look_through(listing: Listing, view: View, folder: Path, keep: bool) -> None:
    """Decode every image of a listing once, and write down which are broken, and why.

    Args:
        listing: The images.
        view: What is shown of them.
        folder: Takes broken.json, unsure.json, and with `keep` images.npy; a broken image is black
            there.
        keep: Whether the pixels are kept.
    """
    black = np.zeros(view.shape, np.uint8)
    unsure: list[str] = []

    def one(name: bytes) -> tuple[Images, str]:
        try:
            return read_patiently(listing.root / os.fsdecode(name), view), ""
        except BROKEN as error:
            if may_pass(error):
                unsure.append(os.fsdecode(name))
            return black, " ".join(str(error).split()) or type(error).__name__

    broken: dict[str, str] = {}
    with (folder / PIXELS if keep else Path(os.devnull)).open("wb") as file:
        shape = (len(listing.names), *black.shape)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        with ThreadPoolExecutor(view.workers) as pool:
            for names in _told(listing, CHUNK):
                for name, (pixels, fault) in zip(names, pool.map(one, names), strict=True):
                    file.write(pixels.tobytes())  # a mapped file would count as our memory
                    if fault:
                        broken[os.fsdecode(name)] = fault
    (folder / LEFT_OUT).write_text(json.dumps(broken, indent=1) + "\n")
    (folder / UNSURE).write_text(json.dumps(sorted(unsure), indent=1) + "\n")


def may_pass(error: Exception) -> bool:
    """Tell a failure of reading, such as of a network's disk, from an image that is broken."""
    return isinstance(error, OSError) and error.errno is not None  # Pillow's own have no number


def read_patiently(path: Path, view: View, seed: int | None = None) -> Images:
    """Read an image as `read` does, and try again where that fails for a reason that may pass."""
    for pause in PAUSES:
        try:
            return read(path, view, seed)
        except PermissionError:
            raise
        except OSError as error:
            if not may_pass(error):
                raise
            time.sleep(pause)
    return read(path, view, seed)


def _told(listing: Listing, step: int) -> Iterator[list[bytes]]:
    """Give the names in chunks, behind a progress bar; silent when stderr is no terminal."""
    names, quiet, pulse = listing.names, not sys.stderr.isatty(), Pulse()
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task(f"decoding {listing.root.name}", total=len(names))
        for at in range(0, len(names), step):
            yield names[at : at + step].tolist()
            bar.advance(task, step)
            if pulse.due():
                log.info("decoding %s: %d of %d images", listing.root.name, at + step, len(names))
