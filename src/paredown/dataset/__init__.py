"""The Dataset contract: three splits of labelled images, and how they are normalized."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Batch = NDArray[np.float32]

CHUNK = 1024  # images that are hashed at once


@dataclass(frozen=True)
class Split:
    """Labelled images, kept as bytes until a batch is needed.

    Args:
        images: uint8, (N, C, H, W), 0 to 255.
        labels: int64, (N,), 0 to classes - 1.
    """

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """What a model learns from and is judged by.

    Training sees `train`; search and picking see `val`; `test` is looked at once, for what was
    picked.

    Args:
        name: As the configuration names it.
        train, val, test: The splits.
        classes: One name a class, in the order of the labels.
        mean, std: One value a channel, of pixels scaled to 0..1.
        crop: Training shifts an image by up to this many pixels, filling with black.
        flip: Whether training mirrors half of the images.
    """

    name: str
    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: int = 0
    flip: bool = False

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every pixel, label and class name, and of how training shows the images."""
        digest = hashlib.sha256(
            repr((self.classes, self.mean, self.std, self.crop, self.flip)).encode()
        )
        for split in (self.train, self.val, self.test):
            digest.update(repr(split.images.shape).encode())
            for at in range(0, len(split), CHUNK):  # channels may share memory: no copy of it all
                digest.update(np.ascontiguousarray(split.images[at : at + CHUNK]).data)
            digest.update(np.ascontiguousarray(split.labels).data)
        return digest.hexdigest()[:32]

    def normalize(self, images: Images) -> Batch:
        """Scale bytes to 0..1, subtract the mean and divide by the standard deviation.

        Args:
            images: uint8, (N, C, H, W).

        Returns:
            float32, (N, C, H, W): what every model and program takes.
        """
        mean = np.asarray(self.mean, np.float32)[:, None, None]
        std = np.asarray(self.std, np.float32)[:, None, None]
        return (images.astype(np.float32) / np.float32(255) - mean) / std

    def augment(self, images: Images, rng: np.random.Generator) -> Images:
        """Shift each image by up to `crop` pixels and mirror half of them if `flip`.

        Args:
            images: uint8, (N, C, H, W).
            rng: Draws the shifts and the flips.

        Returns:
            uint8, (N, C, H, W).
        """
        count, _, height, width = images.shape
        if self.crop:
            pad = ((0, 0), (0, 0), (self.crop, self.crop), (self.crop, self.crop))
            padded = np.pad(images, pad)
            top, left = rng.integers(0, 2 * self.crop + 1, size=(2, count, 1))
            rows, columns = top + np.arange(height), left + np.arange(width)
            pick = np.arange(count)[:, None, None], slice(None), rows[:, :, None], columns[:, None]
            images = padded[pick].transpose(0, 3, 1, 2)  # fancy indices put the channels last
        if self.flip:
            mirrored = rng.random((count, 1, 1, 1)) < 0.5
            images = np.where(mirrored, images[..., ::-1], images)
        return images


class DatasetSource(Protocol):
    """A node of conf/dataset: knows where the images are and how they are split."""

    def load(self) -> Dataset:
        """Read the images.

        Raises:
            ConfigError: If they are not there, or are not what the source says they are.
        """
        ...
