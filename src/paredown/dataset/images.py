"""Image files, read into squares of bytes."""

import math
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from paredown.dataset import Images
from paredown.dataset.preprocessing import Resize

KINDS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # as a bundle's predict.py reads them
BROKEN = (
    OSError, SyntaxError, ValueError, EOFError,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
warnings.simplefilter("error", Image.DecompressionBombWarning)  # above 89 million pixels
ORIENTATION = 0x0112  # EXIF's tag
TURNS = {  # what puts an image upright, by EXIF's orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
MODES = {1: "L", 3: "RGB"}  # Pillow's name of an image by its channels
RATIO = math.log(4 / 3)  # of a random crop's sides

Size = tuple[int, int]
"""Width and height, in pixels."""
Box = tuple[float, float, float, float]
"""Left, top, right and lower edge of what is shown of an image."""


@dataclass(frozen=True)
class View:
    """How images of any size become squares.

    Args:
        size: Of the squares' side, in pixels.
        channels: 3 for RGB, 1 for grey.
        resize: What is shown of an image, and by which filter.
        area: Training shows random crops of at least this share; 1: what everybody is shown.
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
    """Read an image of any size and mode exactly as a bundle's predict.py does.

    Args:
        path: Of the file.
        view: What is shown of it.
        seed: Draws a random crop, as training shows it; None: what everybody is shown.

    Returns:
        uint8, (channels, size, size).

    Raises:
        ValueError: If it has more than 8 bits a channel; `BROKEN` lists what else can happen.
    """
    if not path.is_file():  # a pipe would be waited for
        raise ValueError("no regular file" if path.exists() else "not there, or a link to nothing")
    with Image.open(path, formats=KINDS) as image:
        if image.mode[0] in "IF":
            raise ValueError("more than 8 bits a channel; save it with 8")
        turned = upright(image)
        clear = turned.mode == "P" and "transparency" in turned.info
        colors = (turned.convert("RGBA") if clear else turned).convert(MODES[view.channels])
    size, how = (view.size, view.size), view.resize
    if seed is None:
        square = fit(colors, size, how.mode, how.center, how.interpolation, how.fill)
    else:
        box = random_crop(view.area, seed, *colors.size)
        square = colors.resize(size, Image.Resampling[how.interpolation.upper()], box)
    return np.asarray(square).reshape(*size, -1).transpose(2, 0, 1)


def fit(
    image: Image.Image, size: "Size", mode: str, center: float | None, interpolation: str, fill: int
) -> Image.Image:
    """Resize an image: all of it, stretched; its centre; all of it, between bars."""
    way = Image.Resampling[interpolation.upper()]
    if mode == "letterbox":
        return ImageOps.pad(image, size, way, (fill,) * len(image.getbands()))
    left, top = [(side - min(image.size) * center) / 2 if center else 0 for side in image.size]
    return image.resize(size, way, (left, top, image.width - left, image.height - top))


def upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF data says that it was held; others are left as they are."""
    image.load()  # which turns TIFFs
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except (
        *BROKEN,
        TypeError,
        KeyError,
        struct.error,
    ):  # its EXIF data is; its pixels may be whole
        return image
    return image if turn is None else image.transpose(turn)


def centered(width: int, height: int) -> Box:
    """Return the largest square in the middle of an image."""
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, width - left, height - top


def random_crop(area: float, seed: int, width: int, height: int) -> Box:
    """Draw a part of an image, with sides between 3:4 and 4:3.

    Source: Szegedy et al., Going Deeper with Convolutions, 2014, arXiv 1409.4842; ten tries, then
    the centre, as torchvision's RandomResizedCrop has them.

    Args:
        area: The smallest share of the image, (0, 1].
        seed: Draws share, ratio and place.
        width: Of the image, in pixels.
        height: Of the image, in pixels.
    """
    rng = np.random.default_rng(seed)
    for _ in range(10):
        pixels = width * height * rng.uniform(area, 1)
        ratio = math.exp(rng.uniform(-RATIO, RATIO))
        wide, high = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left, top = rng.integers(width - wide + 1), rng.integers(height - high + 1)
            return float(left), float(top), float(left + wide), float(top + high)
    return centered(width, height)
