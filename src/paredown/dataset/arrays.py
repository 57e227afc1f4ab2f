"""Images and labels of one's own, as arrays in a NumPy file."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paredown.dataset import Dataset, Split, augment
from paredown.dataset.division import stratify
from paredown.dataset.preprocessing import check_normalization, per_channel
from paredown.errors import ConfigError, require

CHANNELS = (1, 3)
ROLES = ("train", "val", "test")


@dataclass(frozen=True)
class Arrays:
    """Arrays in an .npz file: one pile, which is split by a seed, or splits as they were made.

    Args:
        name: As tables and runs name the data.
        file: Holds images, uint8, (N, H, W, C), (N, C, H, W) or (N, H, W), and labels, whole
            numbers from 0, (N,); or these as train_images, train_labels and likewise for val and
            test; and classes, the names of the classes, if they have any.
        val_share, test_share: Of the images of each class, where the file has no such split.
        split_seed: Draws the split; not the seed of a run, so that all runs see the same images.
        mean, std: Of pixels scaled to 0..1, a number or one a channel; null: those of published
            weights, else of the training images.
        crop: Shift of training images, in pixels.
        flip: Whether training mirrors half of the images.
        mixup: How strongly training blends images; 0 for none.
    """

    name: str
    file: str
    val_share: float
    test_share: float
    split_seed: int
    mean: float | list[float] | None
    std: float | list[float] | None
    crop: int
    flip: bool
    mixup: float

    def __post_init__(self) -> None:
        for key in ("val_share", "test_share"):
            require(0 < getattr(self, key) < 1, key, "lie in (0, 1)", getattr(self, key))
        both = self.val_share + self.test_share
        require(both < 1, "test_share", f"be below {1 - self.val_share:g}", self.test_share)
        require(self.split_seed >= 0, "split_seed", "be at least 0", self.split_seed)

    def load(self) -> Dataset:
        """Read the file and split what it does not hold in splits."""
        content = _read(Path(self.file).expanduser())
        splits = {role: pair for role in ROLES if (pair := _pair(content, role)) is not None}
        hint = "images and labels, or train_images and train_labels"
        require("train" in splits, "dataset.file", "hold training images", self.file, hint)
        shape = splits["train"].images.shape[1:]
        for role, split in splits.items():
            same = split.images.shape[1:] == shape
            rule = f"have {role} images of the shape {shape} of the training images"
            require(same, "dataset.file", rule, split.images.shape[1:])
        augment.check(self.crop, self.mixup, shape[1])
        whole = splits["train"]
        shares = tuple(
            0.0 if role in splits else share
            for role, share in (("val", self.val_share), ("test", self.test_share))
        )
        *drawn, rest = stratify(whole.labels, shares, self.split_seed)
        order = np.random.default_rng(self.split_seed).permutation(rest)  # the first calibrate
        images = whole.images[order]
        made = {"train": Split(images, whole.labels[order])}
        for role, index in zip(("val", "test"), drawn, strict=True):
            taken = Split(whole.images[index], whole.labels[index])
            made[role] = splits.get(role, taken)
            require(len(made[role]) > 0, "dataset.file", f"leave an image to {role}", 0)
        channels = shape[0]
        check_normalization(self.mean, self.std, channels)
        pixels = [images[:, channel] for channel in range(channels)]
        mean = tuple(round(float(values.mean()) / 255, 4) for values in pixels)
        std = tuple(max(round(float(values.std()) / 255, 4), 1e-3) for values in pixels)
        return Dataset(
            name=self.name,
            train=made["train"],
            val=made["val"],
            test=made["test"],
            classes=_classes(content, splits),
            mean=per_channel(self.mean, channels, mean),
            std=per_channel(self.std, channels, std),
            crop=self.crop,
            flip=self.flip,
            mixup=self.mixup,
            drawn=tuple(role for role in ROLES if role not in splits),
        )


def _read(file: Path) -> Mapping[str, Any]:
    """Read arrays by name; objects, which would run code, are refused."""
    require(file.is_file(), "dataset.file", "be an .npz file that is there", str(file))
    try:
        with np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (ValueError, OSError, zipfile.BadZipFile, AttributeError, EOFError) as error:
        told = " ".join(str(error).split())[:200]
        raise ConfigError(f"dataset.file must be an .npz of arrays, got {file}: {told}") from error


def _pair(content: Mapping[str, Any], role: str) -> Split | None:
    """Take the images and labels of a split; None if the file holds none."""
    for prefix in (f"{role}_", "") if role == "train" else (f"{role}_",):
        if f"{prefix}images" in content:
            labels = content.get(f"{prefix}labels")
            require(labels is not None, "dataset.file", f"hold {prefix}labels", sorted(content))
            return as_split(content[f"{prefix}images"], labels, "dataset.file")
    return None


def as_split(images: Any, labels: Any, key: str) -> Split:
    """Check arrays and lay images out as (N, C, H, W).

    Args:
        images: uint8, (N, H, W, C), (N, C, H, W) or (N, H, W).
        labels: Whole numbers from 0, (N,).
        key: Of what is refused.

    Raises:
        ConfigError: For another type, shape or number.
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
    whole = labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer)
    require(
        bool(whole), key, "hold whole numbers as labels, (N,)", f"{labels.dtype} {labels.shape}"
    )
    rule = f"hold a label for each of its {len(images)} images"
    require(len(labels) == len(images) > 0, key, rule, len(labels))
    require(bool(labels.min() >= 0), key, "hold labels from 0", int(labels.min()))
    return Split(np.ascontiguousarray(images), labels.astype(np.int64))


def _classes(content: Mapping[str, Any], splits: Mapping[str, Split]) -> tuple[str, ...]:
    """Return the names of the classes; their numbers where they have none."""
    count = 1 + max(int(split.labels.max()) for split in splits.values())
    names = content.get("classes")
    if names is not None:
        rule = f"name each of the {count} classes of its labels"
        require(len(names) >= count, "dataset.file", rule, len(names))
        return tuple(str(name) for name in names)
    require(count >= 2, "dataset.file", "hold labels of two classes or more", count)
    have = np.unique(splits["train"].labels)
    lacks = sorted(set(range(count)) - set(have.tolist()))
    require(not lacks, "dataset.file", "hold an image of every class", f"none of {lacks[:5]}")
    return tuple(str(number) for number in range(count))
