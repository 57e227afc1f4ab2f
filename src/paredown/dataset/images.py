"""Image files: found class by class, and read into squares of bytes."""

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paredown.dataset import Images, Labels
from paredown.errors import ConfigError, require

KINDS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # as a bundle's predict.py reads them
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
RATIO = math.log(4 / 3)  # of a random crop's sides

Box = tuple[float, float, float, float] | None
"""Left, top, right and lower edge of what is shown of an image; None: all of it."""


@dataclass(frozen=True)
class View:
    """How images of any size become squares.

    Args:
        size: Of the squares' side, in pixels.
        center: Share of the shorter side whose centred square is shown; None: all, stretched.
        area: Training shows random crops of at least this share; 1: what everybody is shown.
        workers: Threads that decode.
    """

    size: int
    center: float | None
    area: float
    workers: int


@dataclass(frozen=True)
class Listing:
    """The images of a folder that has one folder a class.

    Args:
        root: The folder.
        names: Paths below it, as bytes: a million of them take 40 MB.
        labels: (N,).
        digest: Of paths, sizes and times of change.
    """

    root: Path
    names: NDArray[np.bytes_]
    labels: Labels
    digest: str


def class_names(folder: Path) -> tuple[str, ...]:
    """List the folders of a folder, in order; what begins with a dot is none of them."""
    entries = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    return tuple(name for name in entries if not name.startswith("."))


def find(folder: Path, classes: tuple[str, ...], complete: bool) -> Listing:
    """List the images below a folder's class folders.

    Args:
        folder: Holds one folder a class.
        classes: Their names, in the order of the labels.
        complete: Whether every class must have an image.

    Raises:
        ConfigError: If a class has no image, or a folder is no class.
    """
    unknown = set(class_names(folder)) - set(classes)
    rule = f"hold the {len(classes)} classes of the training images"
    require(not unknown, f"dataset.folder {folder}", rule, min(unknown, default=""))
    names: list[bytes] = []
    counts, digest = [], hashlib.sha256()
    for name in classes:
        found = sorted(_files(folder / name)) if (folder / name).is_dir() else []
        if complete and not found:
            raise ConfigError(
                f"dataset.folder must have images in every class, got {folder / name} without "
                f"any; an image's name ends with {', '.join(ENDINGS)}"
            )
        counts.append(len(found))
        for path, size, changed in found:
            names.append(os.fsencode(path.removeprefix(f"{folder}/")))
            digest.update(names[-1] + f"\0{size}\0{changed}\0".encode())
    require(bool(names), "dataset.folder", "hold images in its class folders", str(folder))
    labels = np.repeat(np.arange(len(classes)), counts)
    return Listing(folder, np.array(names, np.bytes_), labels, digest.hexdigest())


def _files(folder: Path) -> list[tuple[str, int, int]]:
    """List path, bytes and time of change of every image below a folder."""
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                path = f"{place}/{name}"
                status = Path(path).stat()
                found.append((path, status.st_size, status.st_mtime_ns))
    return found


def read(path: Path, size: int, box: Callable[[int, int], Box]) -> Images:
    """Read an image of any size and mode exactly as a bundle's predict.py does.

    Args:
        path: Of the file.
        size: Of the square's side, in pixels.
        box: Says from width and height what is shown.

    Returns:
        uint8, (3, size, size).

    Raises:
        ValueError: If it has more than 8 bits a channel; `BROKEN` lists what else can happen.
    """
    with Image.open(path, formats=KINDS) as image:
        if image.mode[0] in "IF":
            raise ValueError("more than 8 bits a channel; save it with 8")
        clear = image.mode == "P" and "transparency" in image.info
        colors = (image.convert("RGBA") if clear else image).convert("RGB")
        square = colors.resize((size, size), Image.Resampling.BILINEAR, box(*colors.size))
    return np.asarray(square).transpose(2, 0, 1)


def centered(share: float | None) -> Callable[[int, int], Box]:
    """Show the centred square of a share of the shorter side; None: everything, stretched."""

    def box(width: int, height: int) -> Box:
        if share is None:
            return None
        side = min(width, height) * share
        left, top = (width - side) / 2, (height - side) / 2
        return left, top, width - left, height - top  # as predict.py has it, to the bit

    return box


def random_crop(area: float, seed: int) -> Callable[[int, int], Box]:
    """Show a random part of the image, with sides between 3:4 and 4:3.

    Source: Szegedy et al., Going Deeper with Convolutions, 2014, arXiv 1409.4842; ten tries, then
    the centre, as torchvision's RandomResizedCrop has them.

    Args:
        area: The smallest share of the image, (0, 1].
        seed: Draws share, ratio and place.
    """

    def box(width: int, height: int) -> Box:
        rng = np.random.default_rng(seed)
        for _ in range(10):
            pixels = width * height * rng.uniform(area, 1)
            ratio = math.exp(rng.uniform(-RATIO, RATIO))
            wide, high = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
            if 0 < wide <= width and 0 < high <= height:
                left, top = rng.integers(width - wide + 1), rng.integers(height - high + 1)
                return float(left), float(top), float(left + wide), float(top + high)
        return centered(1.0)(width, height)

    return box
