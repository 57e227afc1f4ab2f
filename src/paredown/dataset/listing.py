"""Image files below one folder per class."""

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paredown.dataset import Labels
from paredown.errors import ConfigError, require

ENDINGS = (  # all that Pillow knows of the kinds that are read, as a bundle's predict.py has them
    ".apng", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pfm", ".pgm", ".png",
    ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """The images of a folder that has one folder per class.

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
    """List the subfolders, sorted, without hidden ones."""
    entries = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    return tuple(name for name in entries if not name.startswith("."))


def is_image(name: str) -> bool:
    """Return whether a file is an image, by its ending."""
    return name.lower().endswith(ENDINGS)


def another_level(folder: Path) -> str:
    """Return a hint to the level of folders that holds two classes; empty where none does."""
    inside = [folder / name for name in class_names(folder)]
    images = any(is_image(file.name) for file in folder.iterdir())
    if images and len(class_names(folder.parent)) >= 2:
        return f"its images are those of one class: dataset.folder={folder.parent}"
    if len(inside) == 1 and len(class_names(inside[0])) >= 2:
        return f"they are one folder deeper: dataset.folder={inside[0]}"
    return ""


def list_images(folder: Path, classes: tuple[str, ...], complete: bool) -> Listing:
    """List the images below a folder's class folders, labelled in the order of `classes`.

    Raises:
        ConfigError: If a folder is no class; with `complete`, if a class has no image.
    """
    unknown = set(class_names(folder)) - set(classes)
    rule = f"hold the {len(classes)} classes of the training images"
    require(not unknown, f"dataset.folder {folder}", rule, min(unknown, default=""))
    names: list[bytes] = []
    others: list[str] = []
    counts, digest = [], hashlib.sha256()
    for name in classes:
        files = sorted(_files(folder / name, others)) if (folder / name).is_dir() else []
        if complete and not files:
            raise ConfigError(
                f"dataset.folder must have images in every class, got {folder / name} without "
                f"any; an image's name ends with {', '.join(ENDINGS)}"
            )
        counts.append(len(files))
        for path, size, changed in files:
            names.append(os.fsencode(path.removeprefix(f"{folder}/")))
            digest.update(names[-1] + f"\0{size}\0{changed}\0".encode())
    require(bool(names), "dataset.folder", "hold images in its class folders", str(folder))
    if others:
        log.warning(
            "%d files in the class folders are skipped, such as %s: the name of an image ends "
            "with %s", len(others), min(others), ", ".join(ENDINGS),
        )  # fmt: skip
    labels = np.repeat(np.arange(len(classes)), counts)
    return Listing(folder, np.array(names, np.bytes_), labels, digest.hexdigest())


def _files(folder: Path, others: list[str]) -> list[tuple[str, int, int]]:
    """List path, bytes and time of change of every image below a folder.

    Files with another ending go to `others`. Raises ConfigError if a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise ConfigError(
            f"dataset.folder must be readable, got {error.filename}: {error.strerror}"
        )

    files = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        for name in (*folders, *names):
            if name.startswith("."):
                continue
            path = f"{place}/{name}"
            if is_image(name):
                try:
                    status = Path(path).stat()
                except OSError:  # a dangling link
                    status = Path(path).lstat()
                files.append((path, status.st_size, status.st_mtime_ns))
            elif name in names:
                others.append(path)
    return files
