"""scikit-learn's 1,797 real handwritten digits (8x8 grey), shown as 3x32x32. No network.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from paredown.dataset import Dataset, Images, Split
from paredown.dataset.source import Source
from paredown.dataset.splits import stratified_split

MEAN, STD = (0.305,), (0.376,)  # of all training pixels


@dataclass(frozen=True, kw_only=True)
class Digits(Source):
    """The digits, split 60/20/20 and stratified by class, in 3 equal channels or in 1."""

    channels: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(32, self.channels)

    def load(self) -> Dataset:
        """Read the digits that scikit-learn ships."""
        table = np.loadtxt(_file(), delimiter=",")  # 64 pixels and the label
        labels = table[:, -1].astype(np.int64)
        images = enlarge(table[:, :-1].reshape(-1, 8, 8))[:, : self.channels]
        parts = stratified_split(labels, (0.6, 0.2), self.split_seed)
        train, val, test = map(Split(images, labels).take, parts)
        classes = tuple(map(str, range(10)))
        drawn = ("val", "test")
        return self._dataset("digits", (train, val, test), classes, MEAN, STD, drawn=drawn)


def _file() -> Path:
    """Return the file of `sklearn.datasets.load_digits`; importing that takes a second."""
    spec = find_spec("sklearn")
    assert spec is not None and spec.origin is not None, "scikit-learn is a dependency"
    return Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"


def enlarge(grey: np.ndarray) -> Images:
    """Turn (N, 8, 8) values of 0..16 into (N, 3, 32, 32) bytes; a pixel becomes a 4x4 block."""
    scaled = (grey * (255 / 16)).astype(np.uint8)
    blocks = scaled.repeat(4, axis=1).repeat(4, axis=2)  # (N, 32, 32)
    return np.ascontiguousarray(np.broadcast_to(blocks[:, None], (len(grey), 3, 32, 32)))
