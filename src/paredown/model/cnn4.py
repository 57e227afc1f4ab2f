"""A four-layer convolutional network for small images."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paredown.errors import require
from paredown.model.weights import fingerprint, refuse_published

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Cnn4:
    """Four 3x3 convolutions with batch norm; three halve the image, then a linear classifier.

    Args:
        width: Channels of the first layer; each later one has twice those before it.
        name: Of the network, in tables and runs.
        weights: A file of a trained one; null for fresh ones.
    """

    width: int
    name: str
    weights: str | None = field(default=None, metadata={"key": False})

    def __post_init__(self) -> None:
        require(1 <= self.width <= 1024, "width", "lie in 1..1024 channels", self.width)

    @property
    def fingerprint(self) -> dict[str, str]:
        """The weights."""
        return fingerprint(self.weights)

    def build(self, classes: int, input_shape: tuple[int, int, int]) -> "nn.Module":
        """Build it for images of any size from 8x8 up."""
        from torch import nn

        layers: list[nn.Module] = []
        channels, _, _ = input_shape
        for index in range(4):
            out = self.width * 2**index
            convolution = nn.Conv2d(channels, out, 3, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            if index < 3:
                layers.append(nn.MaxPool2d(2))
            channels = out
        return nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
        )

    def published(self, weights: str) -> "dict[str, Tensor]":
        """Raise ConfigError: there are no published weights."""
        refuse_published(self.name, weights)
