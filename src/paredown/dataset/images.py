"""Image files, read into squares of bytes."""

import math
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from paredown.dataset import Images
from paredown.dataset.decode import decode, fit
from paredown.dataset.preprocessing import Resize

BROKEN = (
    OSError, SyntaxError, ValueError, EOFError,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
warnings.simplefilter("error", Image.DecompressionBombWarning)  # above 89 million pixels
MODES = {1: "L", 3: "RGB"}  # Pillow's name of an image by its channels
RATIO = math.log(4 / 3)  # of a random crop's sides

Box = tuple[float, float, float, float]
"""Left, top, right and lower edge of the part of an image that is shown."""


@dataclass(frozen=True)
class View:
    """How images of any size become squares.

    Args:
        size: Side of the squares, in pixels.
        channels: 3 for RGB, 1 for grey.
        resize: Mode and filter.
        area: Training shows random crops of at least this share; 1: no random crops.
        workers: Threads that decode.
    """

    size: int
    channels: int
    resize: Resize
    area: float
    workers: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.channels, self.size, self.size


def read(path: Path, view: View, seed: int | None = None) -> Images:
    """Read an image of any size and mode exactly as a bundle's predict.py does, (C, H, W).

    A seed draws a random crop, for training; without one the image is resized as configured.
    """
    if not path.exists():
        raise ValueError("not there, or a link to nothing")
    image, size = decode(path, MODES[view.channels]), (view.size, view.size)
    if seed is None:
        square = fit(image, size, **asdict(view.resize))
    else:
        method = Image.Resampling[view.resize.interpolation.upper()]
        square = image.resize(size, method, random_crop(view.area, seed, *image.size))
    return np.asarray(square).reshape(*size, -1).transpose(2, 0, 1)


def random_crop(area: float, seed: int, width: int, height: int) -> Box:
    """Draw a box of at least a share `area` of an image, with sides between 3:4 and 4:3.

    Source: Szegedy et al., Going Deeper with Convolutions, 2014, arXiv 1409.4842; ten tries, then
    the centre, as torchvision's RandomResizedCrop does it.
    """
    rng = np.random.default_rng(seed)
    for _ in range(10):
        pixels = width * height * rng.uniform(area, 1)
        ratio = math.exp(rng.uniform(-RATIO, RATIO))
        wide, high = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left, top = rng.integers(width - wide + 1), rng.integers(height - high + 1)
            return float(left), float(top), float(left + wide), float(top + high)
    side = min(width, height)
    x, y = (width - side) / 2, (height - side) / 2
    return x, y, width - x, height - y
