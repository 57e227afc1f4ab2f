"""Fashion-MNIST: 70,000 real pictures of clothes (28x28 grey), shown as 3x32x32.

torchvision reads these files only below FashionMNIST/raw and unpacked; Debian installs them
elsewhere and packed, so they are read here.

Source: Xiao, Rasul, Vollgraf, Fashion-MNIST, 2017, arXiv 1708.07747.
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paredown.dataset import Dataset, Images, Labels, Split
from paredown.dataset.source import Source
from paredown.dataset.splits import stratified_split
from paredown.errors import ConfigError, require

DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # where dataset-fashion-mnist installs
TORCHVISION = "FashionMNIST/raw"
CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
MEAN, STD = (0.219,), (0.3318,)  # of all training pixels, padding included
BYTES = 0x08  # the IDX format's code for unsigned bytes


@dataclass(frozen=True, kw_only=True)
class FashionMnist(Source):
    """Its 60,000 training images, of which some become val, and its 10,000 test images.

    Args:
        folder: Holds FashionMNIST/raw as torchvision lays it out, or the four files themselves;
            what Debian's package dataset-fashion-mnist installs is found without it.
        val_images: Taken out of the 60,000, the same share of every class.
        train_images: Use only this many of the rest; null for all.
        flip: Whether training mirrors half of the images.
        channels: The grey image in 3, or in 1.
    """

    folder: str
    val_images: int
    train_images: int | None
    flip: bool
    channels: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.val_images >= 1, "val_images", "be at least 1", self.val_images)
        valid = self.train_images is None or self.train_images >= 1
        require(valid, "train_images", "be at least 1, or null for all", self.train_images)
        self._check(32, self.channels)

    def load(self) -> Dataset:
        """Read the four files, as they were published or unpacked."""
        folder = _find(Path(self.folder).expanduser())
        images, labels = _read_pair(folder, "train")
        room = len(labels) - self.val_images
        rule = f"be below the {len(labels)} training images"
        require(room > 0, "dataset.val_images", rule, self.val_images)
        count = room if self.train_images is None else self.train_images
        rule = f"be at most {room}, the training images that val leaves"
        require(count <= room, "dataset.train_images", rule, count)
        shares = self.val_images / len(labels), count / len(labels)
        indices = stratified_split(labels, shares, self.split_seed)
        val, train = (self._split(images[part], labels[part]) for part in indices[:2])
        test = self._split(*_read_pair(folder, "t10k"))
        splits, settings = (train, val, test), {"flip": self.flip, "drawn": ("val",)}
        return self._dataset("fashion_mnist", splits, CLASSES, MEAN, STD, **settings)

    def _split(self, images: Images, labels: Labels) -> Split:
        """Pad images (N, 28, 28) with black to 32x32, in channels that share memory."""
        padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None]
        return Split(np.broadcast_to(padded, (len(labels), self.channels, 32, 32)), labels)


def _find(folder: Path) -> Path:
    """Return the folder that holds the files, or raise ConfigError."""
    for place in (folder / TORCHVISION, folder, DEBIAN):
        if any(place.glob("train-images-idx3-ubyte*")):
            return place
    raise ConfigError(
        f"dataset.folder must hold {TORCHVISION}/train-images-idx3-ubyte.gz and its three "
        f"neighbours, got {str(folder)!r}; or install Debian's package dataset-fashion-mnist, "
        f"which is looked for in {DEBIAN}"
    )


def _read_pair(folder: Path, prefix: str) -> tuple[Images, Labels]:
    """Read images (N, 28, 28) and labels (N,) of `train` or `t10k`."""
    first, second = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
    images, labels = read_idx(folder, first, 3), read_idx(folder, second, 1)
    where, size = f"{folder}/{first}", images.shape[1:]
    require(size == (28, 28), where, "hold images of 28x28", size)
    rule = f"hold an image for each of the {len(labels)} labels of {second}"
    require(len(images) == len(labels), where, rule, len(images))
    highest = int(labels.max())
    require(highest < len(CLASSES), f"{folder}/{second}", "hold labels of 0..9", highest)
    return images, labels.astype(np.int64)


def read_idx(folder: Path, name: str, dimensions: int) -> Images:
    """Read one file of the IDX format: two zeros, type, dimensions, sizes, then the bytes.

    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database, "file formats".

    Raises:
        ConfigError: If it is missing, with or without .gz, truncated, or of another format.
    """
    file = folder / name if (folder / name).is_file() else folder / f"{name}.gz"
    key, hint = "dataset.folder", "fetch it again"
    require(file.is_file(), key, f"hold {name} or {name}.gz", str(folder), hint)
    try:
        content = file.read_bytes()
        content = gzip.decompress(content) if file.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        require(False, key, f"hold a whole {file.name}", f"{file}: {error}", hint)
    header = 4 + 4 * dimensions
    magic = bytes((0, 0, BYTES, dimensions))
    require(content[:4] == magic, key, f"hold {name} in IDX format", content[:4].hex(), hint)
    shape = tuple(np.frombuffer(content[4:header], ">u4").tolist())
    size, got = header + int(np.prod(shape)), len(content)
    require(got == size > header, key, f"hold a {file.name} of {size} bytes", got, hint)
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
