"""The Dataset contract: three splits of labelled images, and how they are normalized."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from paredown.dataset import augment as way
from paredown.dataset.augment import Batch, Images
from paredown.dataset.preprocessing import STRETCHED, Resize

__all__ = ["Batch", "Dataset", "DatasetSource", "Images", "Labels", "Picked", "Rows", "Split"]

Labels = NDArray[np.int64]
Picked = slice | NDArray[np.int64]
"""Which images of a split: a range, or their numbers."""

CHUNK = 1024  # images that are hashed at once


class Rows(Protocol):
    """Images that are read when they are asked for: they may be more than memory holds."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number of images, channels, height and width."""
        ...

    @property
    def digest(self) -> str:
        """Hash of what they are, told without reading them all."""
        ...

    @property
    def crops(self) -> bool:
        """Whether training shows another crop every time."""
        ...

    def __getitem__(self, picked: Picked) -> Images:
        """Read some, uint8, (N, C, H, W): the same pixels every time."""
        ...

    def draw(self, picked: NDArray[np.int64], rng: np.random.Generator) -> Images:
        """Read some as training shows them, which may be another crop every time."""
        ...


@dataclass(frozen=True)
class Split:
    """Labelled images, kept as bytes until a batch is needed.

    Args:
        images: uint8, (N, C, H, W), 0 to 255: an array in memory, or rows that are read when due.
        labels: int64, (N,), 0 to classes - 1.
    """

    images: Images | Rows
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self, picked: NDArray[np.int64], rng: np.random.Generator) -> Images:
        """Give images as training shows them, before the data set's own augmentation."""
        if isinstance(self.images, np.ndarray):
            return self.images[picked]
        return self.images.draw(picked, rng)


@dataclass(frozen=True)
class Dataset:
    """What a model learns from and is judged by.

    Training sees `train`; search and picking see `val`; `test` is looked at once, for what was
    picked. The first training images are in random order of class: they calibrate.

    Args:
        name: As the configuration names it.
        train, val, test: The splits.
        classes: One name a class, in the order of the labels.
        mean, std: One value a channel, of pixels scaled to 0..1.
        crop: Training shifts an image by up to this many pixels, filling with black.
        flip: Whether training mirrors half of the images.
        mixup: How strongly training blends images; see `augment.blend`. 0 for none.
        resize: How an image of another size is shown. For who shows the network new images.
        drawn: The splits that were drawn here from images that belong together; those that the
            data came with are not named.
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
    mixup: float = 0.0
    resize: Resize = STRETCHED
    drawn: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    @property
    def streams(self) -> bool:
        """Whether training images are read when they are due, which takes its time."""
        return not isinstance(self.train.images, np.ndarray)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every pixel, label and class name, and of how training shows the images."""
        shown = (self.crop, self.flip, self.mixup, *self.resize.identity)
        digest = hashlib.sha256(repr((self.classes, self.mean, self.std, *shown)).encode())
        for split in (self.train, self.val, self.test):
            digest.update(repr(tuple(split.images.shape)).encode())
            if isinstance(split.images, np.ndarray):
                for at in range(0, len(split), CHUNK):  # channels may share memory: copy a few
                    digest.update(np.ascontiguousarray(split.images[at : at + CHUNK]).data)
            else:
                digest.update(split.images.digest.encode())
            digest.update(np.ascontiguousarray(split.labels).data)
        return digest.hexdigest()[:32]

    def normalize(self, images: Images) -> Batch:
        """Scale bytes to 0..1, subtract the mean and divide by the standard deviation.

        Args:
            images: uint8, (N, C, H, W).

        Returns:
            float32, (N, C, H, W), contiguous: what every model and program takes. Channels that
            share memory would keep their strides otherwise, and engines that ignore strides, as
            ExecuTorch does, would read other pixels.
        """
        mean = np.asarray(self.mean, np.float32)[:, None, None]
        std = np.asarray(self.std, np.float32)[:, None, None]
        return (images.astype(np.float32, order="C") / np.float32(255) - mean) / std

    def augment(self, images: Images, rng: np.random.Generator) -> Images:
        """Shift each image by up to `crop` pixels and mirror half of them if `flip`.

        Args:
            images: uint8, (N, C, H, W).
            rng: Draws the shifts and the flips.

        Returns:
            uint8, (N, C, H, W).
        """
        ways = way.draw_ways(len(images), self.crop, self.flip, rng)
        return way.show(images, self.crop, ways)

    def draw(
        self, picked: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Batch, Labels | NDArray[np.float32]]:
        """Give a batch as training learns from it.

        Args:
            picked: Numbers of training images, (N,).
            rng: Draws the augmentation.

        Returns:
            Normalized images, (N, C, H, W), and their labels: (N,), or with mixup the share of
            each class, (N, classes).
        """
        images = self.normalize(self.augment(self.train.draw(picked, rng), rng))
        labels = self.train.labels[picked]
        if not self.mixup:
            return images, labels
        sure = np.eye(len(self.classes), dtype=np.float32)[labels]
        return way.blend(images, sure, self.mixup, rng)

    def view(self, number: int) -> way.Ways:
        """Say how every training image is shown in one of the views that never change.

        Args:
            number: Of the view, from 0.
        """
        rng = np.random.default_rng(number)
        return way.draw_ways(len(self.train), self.crop, self.flip, rng)

    def seen(self, picked: Picked, ways: way.Ways) -> Batch:
        """Give training images the way that a view shows them, normalized.

        Args:
            picked: Numbers of training images.
            ways: Of these images.
        """
        return self.normalize(way.show(self.train.images[picked], self.crop, ways))


class DatasetSource(Protocol):
    """A node of conf/dataset: knows where the images are and how they are split."""

    def load(self) -> Dataset:
        """Read the images.

        Raises:
            ConfigError: If they are not there, or are not what the source says they are.
        """
        ...
