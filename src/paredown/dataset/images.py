"""Image files, read into squares of bytes."""

import math
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from paredown.dataset import Images

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
RATIO = math.log(4 / 3)  # of a random crop's sides

Box = tuple[float, float, float, float] | None
"""Left, top, right and lower edge of what is shown of an image; None: all of it."""


@dataclass(frozen=True)
class View:
    """How images of any size become squares.

    Args:
        size: Of the squares' side, in pixels.
        center: Share of the shorter side whose centred square is shown; None: all, stretched.
        area: Training shows random crops of at least this share; 1: what everybody is shown.
        workers: Threads that decode.
    """

    size: int
    center: float | None
    area: float
    workers: int


def read(path: Path, size: int, box: Callable[[int, int], Box]) -> Images:
    """Read an image of any size and mode exactly as a bundle's predict.py does.

    Args:
        path: Of the file.
        size: Of the square's side, in pixels.
        box: Says from width and height what is shown.

    Returns:
        uint8, (3, size, size).

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
        colors = (turned.convert("RGBA") if clear else turned).convert("RGB")
        square = colors.resize((size, size), Image.Resampling.BILINEAR, box(*colors.size))
    return np.asarray(square).transpose(2, 0, 1)


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


def centered(share: float | None) -> Callable[[int, int], Box]:
    """Show the centred square of a share of the shorter side; None: everything, stretched."""

    def box(width: int, height: int) -> Box:
        if share is None:
            return None
        side = min(width, height) * share
        left, top = (width - side) / 2, (height - side) / 2
        return left, top, width - left, height - top  # as predict.py has it, to the bit

    return box


def random_crop(area: float, seed: int) -> Callable[[int, int], Box]:
    """Show a random part of the image, with sides between 3:4 and 4:3.

    Source: Szegedy et al., Going Deeper with Convolutions, 2014, arXiv 1409.4842; ten tries, then
    the centre, as torchvision's RandomResizedCrop has them.

    Args:
        area: The smallest share of the image, (0, 1].
        seed: Draws share, ratio and place.
    """

    def box(width: int, height: int) -> Box:
        rng = np.random.default_rng(seed)
        for _ in range(10):
            pixels = width * height * rng.uniform(area, 1)
            ratio = math.exp(rng.uniform(-RATIO, RATIO))
            wide, high = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
            if 0 < wide <= width and 0 < high <= height:
                left, top = rng.integers(width - wide + 1), rng.integers(height - high + 1)
                return float(left), float(top), float(left + wide), float(top + high)
        return centered(1.0)(width, height)

    return box
