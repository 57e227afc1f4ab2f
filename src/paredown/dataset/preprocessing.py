"""Resizing and normalization of the images that a network sees."""

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from paredown.errors import require, require_one_of

if TYPE_CHECKING:
    from paredown.dataset import Dataset

MODES = ("stretch", "crop", "letterbox")
INTERPOLATIONS = ("bicubic", "bilinear", "box", "hamming", "lanczos", "nearest")  # as Pillow's
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Setting = float | list[float] | None
"""A mean or standard deviation: one number, or one per channel; None: not configured."""
Source = TypeVar("Source")


@dataclass(frozen=True)
class Resize:
    """How images are resized to the square that the network sees.

    Args:
        mode: stretch: all of it, whatever its shape; crop: its centre; letterbox: all of it in its
            own shape, between bars.
        center: Of mode crop: the centred square of this share of the shorter side, (0, 1]; else
            None.
        interpolation: Pillow's name of the filter; it averages where an image shrinks.
        fill: Of letterbox's bars, 0 (black) to 255.
    """

    mode: str = "stretch"
    center: float | None = None
    interpolation: str = "bilinear"
    fill: int = 0

    @property
    def identity(self) -> tuple[object, ...]:
        """Its part of a fingerprint; settings that the first version had keep their fingerprint."""
        usual = self.mode != "letterbox" and self.interpolation == "bilinear"
        return (self.center,) if usual else (self.center, repr(self))

    def __str__(self) -> str:
        """Return a description for people."""
        words = {
            "stretch": "stretched",
            "crop": f"the centred {self.center:.4g} of the shorter side" if self.center else "",
            "letterbox": f"between bars of {self.fill}",
        }
        return f"{words[self.mode]}, {self.interpolation}"


STRETCHED = Resize()


@dataclass(frozen=True)
class Preprocessing:
    """How published weights were trained to see images, and who states it; see `Resize`.

    Args:
        mean, std: One value per channel, of pixels scaled to 0..1.
        size: Side of the square, in pixels.
    """

    origin: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize
    size: int


def check_normalization(mean: Setting, std: Setting, channels: int) -> None:
    """Raise ConfigError unless mean and std fit the channels, or are both None."""
    require(channels in (1, 3), "channels", "be 3 (RGB) or 1 (grey)", channels)
    for key, value, beside, other in (("mean", mean, "std", std), ("std", std, "mean", mean)):
        if value is None:
            require(other is None, key, f"be set beside {beside}={other}", value)
            continue
        numbers = value if isinstance(value, list) else [value]
        plain = all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
        rule = f"be a number or {channels}, one per channel" if channels > 1 else "be a number"
        require(plain and len(numbers) in (1, channels), key, rule, value)
        for number in numbers:
            fits = 0 <= number <= 1 and (key == "mean" or number > 0)
            rule = f"lie in {'[' if key == 'mean' else '('}0, 1], of pixels scaled to 0..1"
            hint = "divide it by 255" if number > 1 else ""
            require(fits, key, rule, number, hint)


def per_channel(value: Setting, channels: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """Return one number per channel; a grey image has the mean of a color image's three."""
    numbers = list(default) if value is None else value
    numbers = numbers if isinstance(numbers, list) else [numbers]
    if channels == 1 and len(numbers) > 1:
        return (round(sum(numbers) / len(numbers), 4),)
    return tuple(map(float, numbers)) * (1 if len(numbers) == channels else channels)


def check_resize(
    mode: str | None, center: float | None, interpolation: str | None, fill: int
) -> None:
    """Raise ConfigError for settings out of range, or that contradict one another."""
    require_one_of(MODES, "resize", mode or "stretch")
    require_one_of(INTERPOLATIONS, "interpolation", interpolation or "bilinear")
    valid = center is None or 0 < center <= 1
    require(valid, "center", "lie in (0, 1], or be null", center)
    crops = center is None or mode in (None, "crop")
    rule = f"be null where resize={mode}"
    require(crops, "center", rule, center, "set it to null, or resize=crop")
    require(0 <= fill <= 255, "fill", "lie in 0..255", fill)


def resize_of(
    mode: str | None, center: float | None, interpolation: str | None, fill: int
) -> Resize:
    """Return the configured resizing; stretched and bilinear by default."""
    mode = mode or ("stretch" if center is None else "crop")
    center = (center or 1.0) if mode == "crop" else None
    return Resize(mode, center, interpolation or "bilinear", fill)


def completed(source: Source, stated: Preprocessing | None) -> tuple[Source, str]:
    """Fill in a dataset's open settings from those that published weights were trained with.

    Returns:
        The node of conf/dataset, and the origin of its mean and standard deviation, for people.
    """
    node: Any = source
    names = {field.name for field in fields(node)}
    if "mean" not in names:
        return source, "its own"
    if node.mean is not None:
        origin = "as dataset.mean and .std say"
    else:
        origin = "the default of the data set" if stated is None else stated.origin
    if stated is None:
        return source, origin
    if "size" in names and node.size != stated.size:
        origin += f"; they saw {stated.size} pixels a side, dataset.size={node.size}"
    values: dict[str, Any] = {}
    if node.mean is None:
        values = {"mean": list(stated.mean), "std": list(stated.std)}
        if getattr(node, "channels", 3) == 1:
            values = {key: sum(numbers) / len(numbers) for key, numbers in values.items()}
    if "resize" in names and node.resize is node.center is None:
        values |= {"resize": stated.resize.mode, "center": stated.resize.center}
    if "interpolation" in names and node.interpolation is None:
        values["interpolation"] = stated.resize.interpolation
    return replace(node, **values), origin


def line(dataset: "Dataset", origin: str) -> str:
    """Return shape, resizing, normalization and the normalization's origin in one line."""
    if origin.startswith("the default") and dataset.mean == IMAGENET_MEAN:
        origin = "ImageNet's, the default"
    size = "x".join(map(str, dataset.input_shape))
    return f"images: {size}, {dataset.resize}; {numbers(dataset.mean, dataset.std)} ({origin})"


def numbers(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """Format a normalization for people; numbers that all channels share are written once."""
    one = len(set(mean)) == len(set(std)) == 1
    texts = (" ".join(f"{n:.4g}" for n in values[: 1 if one else None]) for values in (mean, std))
    return "mean {}, std {}".format(*texts)


def channels_hint(message: str) -> str:
    """Return a hint for torch's complaint about the number of channels; empty for others."""
    match = re.search(r"to have (1|3) channels, but got (1|3) channels", message)
    return f"; dataset.channels={match[1]} shows what the network takes" if match else ""
