"""CIFAR-10 and CIFAR-100: 60,000 photographs of 3x32x32, downloaded and read by torchvision.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import contextlib
import io
import socket
import sys
import tempfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from paredown.dataset import Dataset, Split
from paredown.dataset.source import Source
from paredown.dataset.splits import stratified_split
from paredown.errors import ConfigError, require

TIMEOUT = 20  # seconds without an answer


@dataclass(frozen=True, kw_only=True)
class Cifar(Source):
    """The 50,000 training images, of which some become val, and the 10,000 test images.

    Args:
        folder: Holds the unpacked archive; without it, the archive is downloaded.
        val_images: Taken out of the 50,000, the same share of every class.
        flip: Whether training mirrors half of the images.
    """

    published: ClassVar[str]  # in torchvision.datasets, with addresses and checksums
    pixels: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]]  # mean and std of training ones

    folder: str
    val_images: int
    flip: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.val_images >= 1, "val_images", "be at least 1", self.val_images)
        self._check(size=32, channels=3)

    def load(self) -> Dataset:
        """Read the files, after downloading them if they are not there."""
        from torchvision import datasets

        published, folder = getattr(datasets, self.published), Path(self.folder).expanduser()
        if not (folder / published.base_folder).is_dir():
            _download(published, folder)
        train, classes = _read(published, folder, train=True)
        test, _ = _read(published, folder, train=False)
        rule = f"be below the {len(train)} training images"
        require(self.val_images < len(train), "dataset.val_images", rule, self.val_images)
        shares = (self.val_images / len(train),)
        val, rest = map(train.take, stratified_split(train.labels, shares, self.split_seed))
        name = self.published.lower()
        splits = (rest, val, test)
        return self._dataset(name, splits, classes, *self.pixels, flip=self.flip, drawn=("val",))


def _read(published: Any, folder: Path, train: bool) -> tuple[Split, tuple[str, ...]]:
    """Read a split and the names of the classes; torchvision checks every file's checksum first."""
    try:
        content = published(folder, train=train)
    except (RuntimeError, OSError) as error:
        place = folder / published.base_folder
        raise ConfigError(
            f"dataset.folder must hold {published.base_folder} as published, got {place} with a "
            "file that is missing or of another checksum; remove the folder, and it is fetched "
            "again"
        ) from error
    images = np.ascontiguousarray(content.data.transpose(0, 3, 1, 2))
    return Split(images, np.array(content.targets, np.int64)), tuple(content.classes)


def _download(published: Any, folder: Path) -> None:
    """Download and unpack an archive beside its place, then move it there in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    bar = contextlib.redirect_stderr(sys.stderr if sys.stderr.isatty() else io.StringIO())
    before = socket.getdefaulttimeout()
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
        socket.setdefaulttimeout(TIMEOUT)
        try:
            with bar:
                published(scratch, download=True)
        except (OSError, RuntimeError, HTTPException) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"dataset.folder must hold {published.base_folder}, got {str(folder)!r}; "
                f"{published.url} cannot be fetched ({reason}): unpack it there by hand"
            ) from error
        finally:
            socket.setdefaulttimeout(before)
        with contextlib.suppress(OSError):  # another process may have been faster
            (Path(scratch) / published.base_folder).rename(folder / published.base_folder)


@dataclass(frozen=True, kw_only=True)
class Cifar10(Cifar):
    """Ten classes."""

    published: ClassVar[str] = "CIFAR10"
    pixels = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)


@dataclass(frozen=True, kw_only=True)
class Cifar100(Cifar):
    """A hundred classes."""

    published: ClassVar[str] = "CIFAR100"
    pixels = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
