"""Images and labels of one's own, as arrays in a NumPy file."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paredown.dataset import Dataset, Split
from paredown.dataset.source import Source, check_shares
from paredown.dataset.splits import draw_splits
from paredown.errors import ConfigError, require

CHANNELS = (1, 3)
ROLES = ("train", "val", "test")
KEY = "dataset.file"


@dataclass(frozen=True, kw_only=True)
class Arrays(Source):
    """Arrays in an .npz file: already split, or to be split by a seed.

    Args:
        name: Of the data, in tables and runs.
        file: Holds images, uint8, (N, H, W, C), (N, C, H, W) or (N, H, W), and labels, integers
            from 0, (N,); or these as train_images, train_labels and likewise for val and test;
            and optionally classes, the names of the classes.
        val_share, test_share: Of the images of each class, where the file has no such split.
        flip: Whether training mirrors half of the images.
    """

    name: str
    file: str
    val_share: float
    test_share: float
    flip: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shares(self.val_share, self.test_share)

    def load(self) -> Dataset:
        """Read the file, and draw the splits that it does not hold."""
        content = _read(Path(self.file).expanduser())
        splits = {role: pair for role in ROLES if (pair := _pair(content, role)) is not None}
        hint = "images and labels, or train_images and train_labels"
        require("train" in splits, KEY, "hold training images", self.file, hint)
        shape = splits["train"].images.shape[1:]
        for role, split in splits.items():
            rule = f"have {role} images of the shape {shape} of the training images"
            require(split.images.shape[1:] == shape, KEY, rule, split.images.shape[1:])
        self._check(size=shape[1], channels=shape[0])
        shares = {"val": self.val_share, "test": self.test_share}
        shares = {role: share for role, share in shares.items() if role not in splits}
        parts = draw_splits(splits["train"].labels, shares, self.split_seed)
        drawn = {role: splits["train"].take(part) for role, part in parts.items()}
        train, val, test = ((splits | drawn)[role] for role in ROLES)
        for role, split in (("val", val), ("test", test)):
            require(len(split) > 0, KEY, f"leave an image to {role}", 0)
        assert isinstance(train.images, np.ndarray)
        channels = [train.images[:, channel] for channel in range(shape[0])]
        return self._dataset(
            self.name,
            (train, val, test),
            _classes(content, splits),
            tuple(round(float(pixels.mean()) / 255, 4) for pixels in channels),
            tuple(max(round(float(pixels.std()) / 255, 4), 1e-3) for pixels in channels),
            flip=self.flip,
            drawn=tuple(shares),
        )


def _read(file: Path) -> Mapping[str, Any]:
    """Read arrays by name; pickled objects, which would run code, are refused."""
    require(file.is_file(), KEY, "be an existing .npz file", str(file))
    try:
        with np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (ValueError, OSError, zipfile.BadZipFile, AttributeError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{KEY} must be an .npz of arrays, got {file}: {reason}") from error


def _pair(content: Mapping[str, Any], role: str) -> Split | None:
    """Return the images and labels of a split; None if the file holds none."""
    for prefix in (f"{role}_", "") if role == "train" else (f"{role}_",):
        if f"{prefix}images" in content:
            labels = content.get(f"{prefix}labels")
            require(labels is not None, KEY, f"hold {prefix}labels", sorted(content))
            return as_split(content[f"{prefix}images"], labels, KEY)
    return None


def as_split(images: Any, labels: Any, key: str) -> Split:
    """Check arrays, and lay images out as (N, C, H, W), or raise ConfigError that names `key`.

    Args:
        images: uint8, (N, H, W, C), (N, C, H, W) or (N, H, W).
        labels: Integers from 0, (N,).
        key: Of the configuration.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    hint = "such as (images * 255).round().astype('uint8') for 0..1"
    require(images.dtype == np.uint8, key, "hold images of uint8", str(images.dtype), hint)
    if images.ndim == 3:
        images = images[:, None]
    last = images.ndim == 4 and images.shape[-1] in CHANNELS and images.shape[1] not in CHANNELS
    images = images.transpose(0, 3, 1, 2) if last else images
    fits = images.ndim == 4 and images.shape[1] in CHANNELS and images.shape[2] == images.shape[3]
    require(fits, key, "hold square images, (N, H, W, C) or (N, C, H, W)", images.shape)
    integer = labels.ndim == 1 and bool(np.issubdtype(labels.dtype, np.integer))
    require(integer, key, "hold integer labels, (N,)", f"{labels.dtype} {labels.shape}")
    rule = f"hold a label for each of its {len(images)} images"
    require(len(labels) == len(images) > 0, key, rule, len(labels))
    require(bool(labels.min() >= 0), key, "hold labels from 0", int(labels.min()))
    return Split(np.ascontiguousarray(images), labels.astype(np.int64))


def _classes(content: Mapping[str, Any], splits: Mapping[str, Split]) -> tuple[str, ...]:
    """Return the names of the classes; their numbers where the file has none."""
    count = 1 + max(int(split.labels.max()) for split in splits.values())
    names = content.get("classes")
    if names is not None:
        rule = f"name each of the {count} classes of its labels"
        require(len(names) >= count, KEY, rule, len(names))
        return tuple(map(str, names))
    require(count >= 2, KEY, "hold labels of two classes or more", count)
    empty = sorted(set(range(count)) - set(splits["train"].labels.tolist()))
    require(not empty, KEY, "hold an image of every class", f"none of {empty[:5]}")
    return tuple(map(str, range(count)))
