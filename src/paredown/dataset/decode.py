"""Decode image files with Pillow alone; a bundle's predict.py holds the code of this module."""

from pathlib import Path

from PIL import Image, ImageOps

KINDS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF's orientation: Pillow's transposition


def decode(path: Path, mode: str) -> Image.Image:
    """Decode a file of 8 bits per channel into RGB or L, upright as its EXIF data says."""
    if path.exists() and not path.is_file():  # a pipe would block
        raise ValueError("no regular file")
    with Image.open(path, formats=KINDS) as image:
        if image.mode[0] in "IF":
            raise ValueError("more than 8 bits a channel; save it with 8")
        image.load()  # which turns TIFFs
        try:
            turn = TURNS.get(image.getexif().get(0x0112, 1))
        except Exception:  # broken EXIF data; the pixels may be fine
            turn = None
        turned = image if turn is None else image.transpose(Image.Transpose(turn))
        clear = turned.mode == "P" and "transparency" in turned.info
        return (turned.convert("RGBA") if clear else turned).convert(mode)


def fit(
    image: Image.Image, size: tuple[int, int], mode: str, center: float | None,
    interpolation: str, fill: int,
) -> Image.Image:  # fmt: skip
    """Resize an image: all of it, stretched; its centre; all of it, between bars."""
    method = Image.Resampling[interpolation.upper()]
    if mode == "letterbox":
        return ImageOps.pad(image, size, method, (fill,) * len(image.getbands()))
    left, top = [(side - min(image.size) * center) / 2 if center else 0 for side in image.size]
    return image.resize(size, method, (left, top, image.width - left, image.height - top))
