"""The images of one folder with one folder per class, scanned once."""

import contextlib
import json
import logging
import math
from pathlib import Path

import numpy as np

from paredown.dataset import LazyImages, Split, decode, images, lazy_images
from paredown.dataset import listing as listing_code
from paredown.dataset.images import BROKEN, View, read
from paredown.dataset.lazy_images import LEFT_OUT, PIXELS, UNSURE, Decoded, Mapped, scan
from paredown.dataset.listing import Listing
from paredown.errors import ConfigError
from paredown.host import machine
from paredown.store.entry import MANIFEST
from paredown.store.hashing import code_of, key_of
from paredown.store.local import Store

SHOWN = 5  # broken images that a message names; the file has all

log = logging.getLogger(__name__)


def index_folder(
    listing: Listing, view: View, cache: Path, cache_mb: float, max_broken: float
) -> Split:
    """Return the readable images of a folder, scanned, or as the cache has them.

    Decoded pixels are kept if they fit `cache_mb`, in 1e6 bytes; other images, and those that
    training crops at random, are decoded on access. ConfigError is raised if more than a share of
    `max_broken` are broken.
    """
    count = len(listing.names)
    keep = view.area == 1 and count * math.prod(view.shape) <= cache_mb * 1e6
    code = code_of(images, decode, listing_code, lazy_images)
    settings = (view.shape, view.resize.identity, keep)
    key = key_of(listing.digest, settings, machine.versions("pillow"), code)
    about = {"stage": "images", "kind": "images", "path": str(listing.root)}
    store = Store(cache)

    def fill(folder: Path) -> None:
        scan(listing, view, folder, keep)

    entry = store.get(key, about, fill)
    if _has_recovered(entry, listing, view):
        store.forget(key)
        entry = store.get(key, about, fill)
    broken = json.loads((entry / LEFT_OUT).read_text())
    _report(broken, count, max_broken, entry / LEFT_OUT)
    names = np.array([name.encode("utf-8", "surrogateescape") for name in broken], np.bytes_)
    good = np.flatnonzero(~np.isin(listing.names, names)) if broken else np.arange(count)
    rows: LazyImages = Decoded(listing.root, listing.names, view, listing.digest)
    if keep:
        digest = json.loads((entry / MANIFEST).read_text())["files"][PIXELS]
        pixels = np.load(entry / PIXELS, mmap_mode="r")
        rows = Mapped(np.asarray(pixels), np.arange(count), digest)
    return Split(rows, listing.labels).take(good)


def _has_recovered(entry: Path, listing: Listing, view: View) -> bool:
    """Return whether an image can be read now whose reading failed during the scan."""
    for name in json.loads((entry / UNSURE).read_text()):
        with contextlib.suppress(*BROKEN):
            read(listing.root / name, view)
            return True
    return False


def _report(broken: dict[str, str], count: int, limit: float, file: Path) -> None:
    """Log the broken images, and refuse more than `limit` of all."""
    if not broken:
        return
    some = "; ".join(f"{name}: {why}" for name, why in list(broken.items())[:SHOWN])
    rest = f"; all of them in {file}" if len(broken) > SHOWN else ""
    if len(broken) > limit * count:
        raise ConfigError(
            f"dataset.max_broken must be at least {len(broken) / count:.3g} to leave out "
            f"{len(broken)} of {count} images, got {limit:g}; {some}{rest}"
        )
    log.warning(
        "%d of %d images cannot be read and are left out: %s%s", len(broken), count, some, rest
    )
