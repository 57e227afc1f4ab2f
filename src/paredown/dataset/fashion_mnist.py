"""Fashion-MNIST: 70,000 real pictures of clothes (28x28 grey), shown as 3x32x32.

Source: Xiao, Rasul, Vollgraf, Fashion-MNIST, 2017, arXiv 1708.07747.
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paredown.dataset import Dataset, Images, Labels, Split, augment
from paredown.dataset.division import stratify
from paredown.dataset.preprocessing import check_normalization, per_channel
from paredown.errors import require

DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # where dataset-fashion-mnist installs
TORCHVISION = "FashionMNIST/raw"
CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
MEAN, STD = (0.219,), (0.3318,)  # of all training pixels, padding included
BYTES = 0x08  # the IDX format's code for unsigned bytes


@dataclass(frozen=True)
class FashionMnist:
    """Its 60,000 training images, of which some are val, and its 10,000 test images.

    Args:
        folder: Holds FashionMNIST/raw as torchvision lays it out, or the four files themselves;
            what Debian's package dataset-fashion-mnist installs is found without it.
        split_seed: Draws val; not the seed of a run, so that all runs see the same images.
        val_images: Taken out of the 60,000, the same share of every class.
        train_images: Use only so many of the rest; null for all.
        crop: Shift of training images, in pixels of the 32.
        flip: Whether training mirrors half of the images.
        mixup: How strongly training blends images; 0 for none.
        channels: The grey picture in 3, or in 1.
        mean, std: Of pixels scaled to 0..1, a number or one a channel; null: those of published
            weights, else of the training images.
    """

    folder: str
    split_seed: int
    val_images: int
    train_images: int | None
    crop: int
    flip: bool
    mixup: float
    channels: int = 3
    mean: float | list[float] | None = None
    std: float | list[float] | None = None

    def __post_init__(self) -> None:
        require(self.split_seed >= 0, "split_seed", "be at least 0", self.split_seed)
        require(self.val_images >= 1, "val_images", "be at least 1", self.val_images)
        some = self.train_images is None or self.train_images >= 1
        require(some, "train_images", "be at least 1, or null for all", self.train_images)
        augment.check(self.crop, self.mixup, 32)
        check_normalization(self.mean, self.std, self.channels)

    def load(self) -> Dataset:
        """Read the four files, as they were published or unpacked."""
        place = _find(Path(self.folder).expanduser())
        images, labels = _read_pair(place, "train")
        room = len(labels) - self.val_images
        rule = f"be below the {len(labels)} training images"
        require(room > 0, "dataset.val_images", rule, self.val_images)
        count = room if self.train_images is None else self.train_images
        rule = f"be at most {room}, the training images that val leaves"
        require(count <= room, "dataset.train_images", rule, count)
        shares = self.val_images / len(labels), count / len(labels)
        val, train, _ = stratify(labels, shares, self.split_seed)
        test_images, test_labels = _read_pair(place, "t10k")
        return Dataset(
            name="fashion_mnist",
            train=Split(_show(images[train], self.channels), labels[train]),
            val=Split(_show(images[val], self.channels), labels[val]),
            test=Split(_show(test_images, self.channels), test_labels),
            classes=CLASSES,
            mean=per_channel(self.mean, self.channels, MEAN),
            std=per_channel(self.std, self.channels, STD),
            crop=self.crop,
            flip=self.flip,
            mixup=self.mixup,
            drawn=("val",),
        )


def _find(folder: Path) -> Path:
    """Find the folder that holds the files.

    Raises:
        ConfigError: If there is none.
    """
    places = (folder / TORCHVISION, folder, DEBIAN)
    for place in places:
        if any(place.glob("train-images-idx3-ubyte*")):
            return place
    require(
        False,
        "dataset.folder",
        f"hold {TORCHVISION}/train-images-idx3-ubyte.gz and its three neighbours",
        str(folder),
        f"or install Debian's package dataset-fashion-mnist, which is looked for in {DEBIAN}",
    )
    raise AssertionError


def _read_pair(place: Path, which: str) -> tuple[Images, Labels]:
    """Read images (N, 28, 28) and labels (N,) of `train` or `t10k`."""
    images = read_idx(place, f"{which}-images-idx3-ubyte", 3)
    labels = read_idx(place, f"{which}-labels-idx1-ubyte", 1)
    first, second = (f"{place}/{which}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1"))
    require(images.shape[1:] == (28, 28), first, "hold images of 28x28", images.shape[1:])
    rule = f"hold an image for each of the {len(labels)} labels of {Path(second).name}"
    require(len(images) == len(labels), first, rule, len(images))
    highest = int(labels.max())
    require(highest < len(CLASSES), second, "hold labels of 0..9", highest)
    return images, labels.astype(np.int64)


def read_idx(place: Path, name: str, dimensions: int) -> Images:
    """Read one file of the IDX format: two zeros, type, dimensions, sizes, then the bytes.

    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database, "file formats".

    Args:
        place: Its folder.
        name: Without .gz, which the file may have.
        dimensions: That it must have.

    Raises:
        ConfigError: If it is not there, not whole, or of another format.
    """
    file = place / name if (place / name).is_file() else place / f"{name}.gz"
    key, again = "dataset.folder", "fetch it again"
    require(file.is_file(), key, f"hold {name} or {name}.gz", str(place), again)
    try:
        content = file.read_bytes()
        content = gzip.decompress(content) if file.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        require(False, key, f"hold a whole {file.name}", f"{file}: {error}", again)
    header = 4 + 4 * dimensions
    magic = bytes((0, 0, BYTES, dimensions))
    require(content[:4] == magic, key, f"hold {name} in IDX format", content[:4].hex(), again)
    shape = tuple(np.frombuffer(content[4:header], ">u4").tolist())
    size, got = header + int(np.prod(shape)), len(content)
    require(got == size > header, key, f"hold a {file.name} of {size} bytes", got, again)
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _show(grey: Images, channels: int) -> Images:
    """Pad (N, 28, 28) with black to 32x32 and show it in channels that share memory."""
    padded = np.pad(grey, ((0, 0), (2, 2), (2, 2)))
    return np.broadcast_to(padded[:, None], (len(grey), channels, 32, 32))
