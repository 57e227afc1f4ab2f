"""The images of one folder that has one folder a class, looked through once."""

import contextlib
import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paredown.dataset import Labels, Split, images
from paredown.dataset import listing as listing_code
from paredown.dataset import rows as streamed
from paredown.dataset.images import BROKEN, View, read
from paredown.dataset.listing import Listing
from paredown.dataset.rows import LEFT_OUT, PIXELS, UNSURE, Decoded, Mapped, look_through
from paredown.errors import ConfigError
from paredown.host import machine
from paredown.store.entry import MANIFEST
from paredown.store.hashing import code_of, key_of
from paredown.store.local import Store

TOLD = 5  # broken images that are named; the file has all

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pile:
    """The whole images of one folder.

    Args:
        rows: Of its images, those that can be read.
        labels: Of these.
    """

    rows: Decoded | Mapped
    labels: Labels

    def split(self, index: NDArray[np.int64] | None = None) -> Split:
        """Make a split of some of the images, or of all."""
        index = np.arange(len(self.labels)) if index is None else index
        return Split(self.rows.take(index), self.labels[index])


def heap(listing: Listing, view: View, cache: Path, cache_mb: float, max_broken: float) -> Pile:
    """Look through a folder, or remember what was found; keep the pixels if they fit.

    Args:
        listing: Its images.
        view: What is shown of them.
        cache: Where pixels and what was found are kept.
        cache_mb: Pixels that take more are decoded when they are due, in 1e6 bytes; so are those
            that training crops at random.
        max_broken: Share of images that may be broken.

    Raises:
        ConfigError: If more are.
    """
    count = len(listing.names)
    keep = view.area == 1 and count * math.prod(view.shape) <= cache_mb * 1e6
    code = code_of(images, listing_code, streamed)
    shown = (view.shape, view.resize.identity, keep)
    key = key_of(listing.digest, shown, machine.versions("pillow"), code)
    about = {"stage": "images", "kind": "images", "path": str(listing.root)}
    store = Store(cache)

    def look(folder: Path) -> None:
        look_through(listing, view, folder, keep)

    place = store.get(key, about, look)
    if _passed(place, listing, view):
        store.forget(key)
        place = store.get(key, about, look)
    broken = json.loads((place / LEFT_OUT).read_text())
    _tell(broken, count, max_broken, place / LEFT_OUT)
    names = np.array([name.encode("utf-8", "surrogateescape") for name in broken], np.bytes_)
    good = np.flatnonzero(~np.isin(listing.names, names)) if broken else np.arange(count)
    rows: Decoded | Mapped = Decoded(listing.root, listing.names, view, listing.digest)
    if keep:
        digest = json.loads((place / MANIFEST).read_text())["files"][PIXELS]
        pixels = np.load(place / PIXELS, mmap_mode="r")
        rows = Mapped(np.asarray(pixels), np.arange(count), digest)
    return Pile(rows.take(good), listing.labels[good])


def _passed(place: Path, listing: Listing, view: View) -> bool:
    """Tell whether an image can be read now whose reading failed when all were looked at."""
    for name in json.loads((place / UNSURE).read_text()):
        with contextlib.suppress(*BROKEN):
            read(listing.root / name, view)
            return True
    return False


def _tell(broken: dict[str, str], count: int, limit: float, file: Path) -> None:
    """List the broken images, and refuse more than `limit` of all."""
    if not broken:
        return
    some = "; ".join(f"{name}: {why}" for name, why in list(broken.items())[:TOLD])
    rest = f"; all of them in {file}" if len(broken) > TOLD else ""
    if len(broken) > limit * count:
        raise ConfigError(
            f"dataset.max_broken must be at least {len(broken) / count:.3g} to leave out "
            f"{len(broken)} of {count} images, got {limit:g}; {some}{rest}"
        )
    log.warning(
        "%d of %d images cannot be read and are left out: %s%s", len(broken), count, some, rest
    )
