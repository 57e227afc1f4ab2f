"""What the networks of this folder are built from, and what is expected of each."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Habit:
    """A network with one habit of real code, and what the product must make of it.

    Args:
        network: `network(num_classes)` maps (N, 3, 32, 32) to logits (N, num_classes).
        groups: So many groups must be pruned at least; 0 if it is refused.
        refusal: A word of the line that refuses it; empty if it must not be refused. With both,
            either is right.
        over_channels: Whether a mean or a norm looks at several channels of a group at once, so
            that zeros in the place of what went count.
        parameters: What may be left of them at amount 0.5, a share.
    """

    network: type[nn.Module]
    groups: int
    refusal: str
    over_channels: bool
    parameters: float


HABITS: dict[str, Habit] = {}
Declare = Callable[[type[nn.Module]], type[nn.Module]]


def pruned(
    groups: int, over_channels: bool = False, or_refused: str = "", parameters: float = 1.0
) -> Declare:
    """Expect at least so many groups to be pruned, or, where that is right too, a refusal."""

    def declare(network: type[nn.Module]) -> type[nn.Module]:
        habit = Habit(network, groups, or_refused, over_channels, parameters)
        HABITS[network.__name__] = habit
        return network

    return declare


def refused(word: str) -> Declare:
    """Expect one line with this word before any work."""

    def declare(network: type[nn.Module]) -> type[nn.Module]:
        HABITS[network.__name__] = Habit(network, 0, word, False, 1.0)
        return network

    return declare


def unit(before: int, after: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU; the picture keeps its size at stride 1."""
    layer = nn.Conv2d(before, after, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


class Picture(nn.Module):
    """A stem of 16 channels at 16x16, `features`, the mean of all pixels, a Linear."""

    width = 32

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = unit(3, 16, stride=2)
        self.build()
        self.head = nn.Linear(self.width, num_classes)

    def build(self) -> None:
        """Make what `features` needs."""

    def features(self, x: Tensor) -> Tensor:
        """Map (N, 16, 16, 16) to (N, width, H, W)."""
        return x

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(self.stem(images)).mean(dim=(2, 3)))


class Patches(nn.Module):
    """16 patches as tokens of 32 channels, `mix`, the mean of the tokens, a Linear."""

    dim = 32

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, self.dim, kernel_size=8, stride=8)
        self.build()
        self.norm = nn.LayerNorm(self.dim)
        self.head = nn.Linear(self.dim, num_classes)

    def build(self) -> None:
        """Make what `mix` needs."""

    def mix(self, tokens: Tensor) -> Tensor:
        """Map (N, 16, dim) to (N, L, dim)."""
        return tokens

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patch(images).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.mix(tokens)).mean(dim=1))


class Mlp(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))
