"""CIFAR-10 and CIFAR-100: 60,000 photographs of 3x32x32, as torchvision lays them out.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import hashlib
import pickle
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from paredown.dataset import Dataset, Images, Labels, Split, augment
from paredown.dataset.division import stratify
from paredown.dataset.preprocessing import check_normalization, per_channel
from paredown.errors import ConfigError, require

RECONSTRUCT: Any = np.empty(0).__reduce__()[0]  # makes an empty array; numpy moved it in 2.0
HOME = "https://www.cs.toronto.edu/~kriz/"


@dataclass(frozen=True)
class Archive:
    """Where the files are, and what they must be.

    Args:
        name: Of the data set.
        url, md5: Of the published archive.
        folder: That it unpacks to.
        train, test: MD5 checksums by file.
        meta: File, key in it and MD5 checksum of the class names.
        labels: Key of the labels in the other files.
        mean, std: Of the training pixels.
    """

    name: str
    url: str
    md5: str
    folder: str
    train: dict[str, str]
    test: dict[str, str]
    meta: tuple[str, str, str]
    labels: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Cifar:
    """The 50,000 training images, of which some are val, and the 10,000 test images.

    Args:
        folder: Holds the unpacked archive, or gets it when there is a network.
        split_seed: Draws val; not the seed of a run, so that all runs see the same images.
        val_images: Taken out of the 50,000, the same share of every class.
        crop: Shift of training images, in pixels of the 32.
        flip: Whether training mirrors half of the images.
        mixup: How strongly training blends images; 0 for none.
        mean, std: Of pixels scaled to 0..1, a number or one a channel; null: those of published
            weights, else of the training images.
    """

    archive: ClassVar[Archive]

    folder: str
    split_seed: int
    val_images: int
    crop: int
    flip: bool
    mixup: float
    mean: float | list[float] | None = None
    std: float | list[float] | None = None

    def __post_init__(self) -> None:
        require(self.split_seed >= 0, "split_seed", "be at least 0", self.split_seed)
        require(self.val_images >= 1, "val_images", "be at least 1", self.val_images)
        augment.check(self.crop, self.mixup, 32)
        check_normalization(self.mean, self.std, 3)

    def load(self) -> Dataset:
        """Read the files, fetched first if they are not there."""
        archive = self.archive
        place = Path(self.folder).expanduser() / archive.folder
        if not place.is_dir():
            from paredown.dataset.fetch import fetch

            fetch(archive.url, archive.md5, place.parent, archive.folder)
        file, key, digest = archive.meta
        classes = tuple(read(place / file, digest, key)[key])
        images, labels = _stack(archive, place, archive.train, len(classes))
        rule = f"be below the {len(labels)} training images"
        require(self.val_images < len(labels), "dataset.val_images", rule, self.val_images)
        val, train = stratify(labels, (self.val_images / len(labels),), self.split_seed)
        return Dataset(
            name=archive.name,
            train=Split(images[train], labels[train]),
            val=Split(images[val], labels[val]),
            test=Split(*_stack(archive, place, archive.test, len(classes))),
            classes=classes,
            mean=per_channel(self.mean, 3, archive.mean),
            std=per_channel(self.std, 3, archive.std),
            crop=self.crop,
            flip=self.flip,
            mixup=self.mixup,
            drawn=("val",),
        )


def _stack(
    archive: Archive, place: Path, files: dict[str, str], classes: int
) -> tuple[Images, Labels]:
    """Read files one after the other into images (N, 3, 32, 32) and labels (N,)."""
    images, labels = [], []
    for name, digest in files.items():
        batch = read(place / name, digest, archive.labels, "data")
        pixels, named = np.asarray(batch["data"]), np.asarray(batch[archive.labels], np.int64)
        where = str(place / name)
        good = pixels.dtype == np.uint8 and pixels.shape == (len(named), 3 * 32 * 32)
        shape = f"{pixels.dtype} {pixels.shape}"
        require(good, where, f"hold {len(named)} images of 3x32x32 bytes", shape)
        rule = f"hold labels of 0..{classes - 1}"
        require(bool(((named >= 0) & (named < classes)).all()), where, rule, int(named.max()))
        images.append(pixels.reshape(-1, 3, 32, 32))
        labels.append(named)
    return np.concatenate(images), np.concatenate(labels)


def read(file: Path, md5: str, *keys: str) -> dict[str, Any]:
    """Read one of the published pickles: compared with its checksum first, and no code runs.

    Args:
        file: Of the unpacked archive.
        md5: Its published checksum.
        keys: That it must have.

    Raises:
        ConfigError: If it is not there, or not what was published.
    """
    again = "remove the folder, and it is fetched again"
    require(file.is_file(), "dataset.folder", f"hold {file.name}", str(file.parent), again)
    content = file.read_bytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    require(found == md5, str(file), f"have the MD5 checksum {md5}", found, again)
    try:
        batch = _Arrays(BytesIO(content), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError) as error:
        raise ConfigError(f"{file} must hold arrays and texts, got {error}; {again}") from error
    require(set(keys) <= batch.keys(), str(file), f"have {' and '.join(keys)}", list(batch))
    content_of: dict[str, Any] = batch
    return content_of


class _Arrays(pickle.Unpickler):
    """Unpickles arrays and plain values, and refuses everything else that a pickle can call."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,
        ("numpy._core.multiarray", "_reconstruct"): RECONSTRUCT,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Give one of the few that arrays need."""
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"code: it calls {module}.{name}")
        return self.allowed[module, name]


@dataclass(frozen=True)
class Cifar10(Cifar):
    """Ten classes."""

    archive: ClassVar[Archive] = Archive(
        name="cifar10",
        url=HOME + "cifar-10-python.tar.gz",
        md5="c58f30108f718f92721af3b95e74349a",
        folder="cifar-10-batches-py",
        train={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        test={"test_batch": "40351d587109b95175f43aff81a1287e"},
        meta=("batches.meta", "label_names", "5ff9c542aee3614f3951f8cda6e48888"),
        labels="labels",
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.247, 0.2435, 0.2616),
    )


@dataclass(frozen=True)
class Cifar100(Cifar):
    """A hundred classes."""

    archive: ClassVar[Archive] = Archive(
        name="cifar100",
        url=HOME + "cifar-100-python.tar.gz",
        md5="eb9058c3a382ffc7106e4002c42a8d85",
        folder="cifar-100-python",
        train={"train": "16019d7e3df5f24257cddd939b257f8d"},
        test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        meta=("meta", "fine_label_names", "7973b15100ade9c7d40fb424638fde48"),
        labels="fine_labels",
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    )
