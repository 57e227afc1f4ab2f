"""scikit-learn's 1,797 real handwritten digits (8x8 grey), shown as 3x32x32. No network.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from paredown.dataset import Dataset, Images, Split, augment
from paredown.dataset.division import stratify
from paredown.dataset.preprocessing import check_normalization, per_channel
from paredown.errors import require

MEAN, STD = (0.305,), (0.376,)  # of all training pixels


@dataclass(frozen=True)
class Digits:
    """The digits, split 60/20/20 into train, val and test, stratified by class.

    Args:
        split_seed: Draws the split; not the seed of a run, so that all runs see the same images.
        crop: Shift of training images, in pixels of the 32.
        mixup: How strongly training blends images; 0 for none.
        channels: The grey picture in 3, or in 1.
        mean, std: Of pixels scaled to 0..1, a number or one a channel; null: those of published
            weights, else of the training images.
    """

    split_seed: int
    crop: int
    mixup: float = 0.0
    channels: int = 3
    mean: float | list[float] | None = None
    std: float | list[float] | None = None

    def __post_init__(self) -> None:
        require(self.split_seed >= 0, "split_seed", "be at least 0", self.split_seed)
        augment.check(self.crop, self.mixup, 32)
        check_normalization(self.mean, self.std, self.channels)

    def load(self) -> Dataset:
        """Read the digits that scikit-learn ships."""
        table = np.loadtxt(_file(), delimiter=",")  # 64 pixels and the label
        labels = table[:, -1].astype(np.int64)
        train, val, test = stratify(labels, (0.6, 0.2), self.split_seed)
        images = enlarge(table[:, :-1].reshape(-1, 8, 8))[:, : self.channels]
        return Dataset(
            name="digits",
            train=Split(images[train], labels[train]),
            val=Split(images[val], labels[val]),
            test=Split(images[test], labels[test]),
            classes=tuple(str(digit) for digit in range(10)),
            mean=per_channel(self.mean, self.channels, MEAN),
            std=per_channel(self.std, self.channels, STD),
            crop=self.crop,
            mixup=self.mixup,
            drawn=("val", "test"),
        )


def _file() -> Path:
    """Find the file that `sklearn.datasets.load_digits` reads; importing it takes a second."""
    spec = find_spec("sklearn")
    assert spec is not None, "scikit-learn is a dependency"
    assert spec.origin is not None
    return Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"


def enlarge(grey: np.ndarray) -> Images:
    """Turn (N, 8, 8) values of 0..16 into (N, 3, 32, 32) bytes; a pixel becomes a 4x4 block."""
    scaled = (grey * (255 / 16)).astype(np.uint8)
    blocks = scaled.repeat(4, axis=1).repeat(4, axis=2)  # (N, 32, 32)
    return np.ascontiguousarray(np.broadcast_to(blocks[:, None], (len(grey), 3, 32, 32)))
