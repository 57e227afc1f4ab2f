"""The Dataset contract: three splits of labelled images, and how they are normalized."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from paredown.dataset import augment as augmentation
from paredown.dataset.augment import AugmentParams
from paredown.dataset.augment import Batch as Batch
from paredown.dataset.augment import Images as Images
from paredown.dataset.augment import Indices as Indices
from paredown.dataset.preprocessing import STRETCHED, Resize

Labels = NDArray[np.int64]

CHUNK = 1024  # images hashed per step


class LazyImages(Protocol):
    """Images that are read on access: they may not fit into memory."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number of images, channels, height and width."""

    @property
    def digest(self) -> str:
        """Hash that identifies the images without reading all of them."""

    @property
    def crops(self) -> bool:
        """Whether training sees a new random crop on every access."""
        return False

    def __getitem__(self, indices: Indices) -> Images:
        """Read images, uint8, (N, C, H, W): the same pixels every time."""

    def draw(self, indices: NDArray[np.int64], rng: np.random.Generator) -> Images:
        """Read images for training, with a new random crop if there are any."""
        return self[indices]

    def take(self, indices: NDArray[np.int64]) -> "LazyImages":
        """Return a selection of these images, for `Split.take`; nothing is read."""


@dataclass(frozen=True)
class Split:
    """Labelled images, stored as bytes until a batch is needed.

    Args:
        images: uint8, (N, C, H, W), 0 to 255: an array, or images that are read on access.
        labels: int64, (N,), 0 to classes - 1.
    """

    images: Images | LazyImages
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> "Split":
        """Return a split of some of the images."""
        stored = isinstance(self.images, np.ndarray)
        images = self.images[indices] if stored else self.images.take(indices)
        return Split(images, self.labels[indices])

    def draw(self, indices: NDArray[np.int64], rng: np.random.Generator) -> Images:
        """Return images for training, before the dataset's own augmentation."""
        if isinstance(self.images, np.ndarray):
            return self.images[indices]
        return self.images.draw(indices, rng)


@dataclass(frozen=True)
class Dataset:
    """Images to train on and to judge by.

    Training sees `train`; search and picking see `val`; `test` is looked at once, for what was
    picked. The first training images are in random order of class: they calibrate.

    Args:
        name: As in the configuration.
        train, val, test: The splits.
        classes: Names, in the order of the labels.
        mean, std: One value per channel, of pixels scaled to 0..1.
        crop: Training shifts an image by up to this many pixels, filling with black.
        flip: Whether training mirrors half of the images.
        mixup: How strongly training blends images; see `augment.blend`. 0 for none.
        resize: How images of other sizes are resized, for whoever shows the network new ones.
        drawn: The splits that were drawn here from images that belong together; those that the
            data came with are not listed.
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
    def example(self) -> Batch:
        """The normalized image that programs are timed on, (1, C, H, W): the first of `val`."""
        return self.normalize(self.val.images[:1])

    @property
    def streams(self) -> bool:
        """Whether training images are read from disk for every batch."""
        return not isinstance(self.train.images, np.ndarray)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every pixel, label and class name, and of the augmentation."""
        settings = (self.crop, self.flip, self.mixup, *self.resize.identity)
        digest = hashlib.sha256(repr((self.classes, self.mean, self.std, *settings)).encode())
        for split in (self.train, self.val, self.test):
            digest.update(repr(tuple(split.images.shape)).encode())
            if isinstance(split.images, np.ndarray):
                for start in range(0, len(split), CHUNK):  # channels may share memory: copy a few
                    digest.update(np.ascontiguousarray(split.images[start : start + CHUNK]).data)
            else:
                digest.update(split.images.digest.encode())
            digest.update(np.ascontiguousarray(split.labels).data)
        return digest.hexdigest()[:32]

    def normalize(self, images: Images) -> Batch:
        """Scale bytes to 0..1, subtract the mean and divide by the standard deviation.

        Returns:
            float32, (N, C, H, W), contiguous: engines that ignore strides, such as ExecuTorch,
            would misread channels that share memory.
        """
        mean = np.asarray(self.mean, np.float32)[:, None, None]
        std = np.asarray(self.std, np.float32)[:, None, None]
        return (images.astype(np.float32, order="C") / np.float32(255) - mean) / std

    def augment(self, images: Images, rng: np.random.Generator) -> Images:
        """Shift each image, uint8, (N, C, H, W), by up to `crop` and mirror half if `flip`."""
        params = augmentation.sample_params(len(images), self.crop, self.flip, rng)
        return augmentation.apply(images, self.crop, params)

    def draw(
        self, indices: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Batch, Labels | NDArray[np.float32]]:
        """Return an augmented training batch.

        Returns:
            Normalized images, (N, C, H, W), and their labels: (N,), or with mixup the share of
            each class, (N, classes).
        """
        images = self.normalize(self.augment(self.train.draw(indices, rng), rng))
        labels = self.train.labels[indices]
        if not self.mixup:
            return images, labels
        one_hot = np.eye(len(self.classes), dtype=np.float32)[labels]
        return augmentation.blend(images, one_hot, self.mixup, rng)

    def view(self, index: int) -> AugmentParams:
        """Return the fixed augmentation of every training image in the view of an index."""
        rng = np.random.default_rng(index)
        return augmentation.sample_params(len(self.train), self.crop, self.flip, rng)

    def augmented_view(self, indices: Indices, params: AugmentParams) -> Batch:
        """Return training images as augmented by their parameters in a view, normalized."""
        return self.normalize(augmentation.apply(self.train.images[indices], self.crop, params))


class DatasetSource(Protocol):
    """A node of conf/dataset: where the images are, and how they are split."""

    def load(self) -> Dataset:
        """Read the images, or raise ConfigError if they are not as configured."""
