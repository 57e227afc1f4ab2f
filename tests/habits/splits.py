"""Channels that are cut apart, dealt out, or put in another order."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from habits.parts import Picture, pruned, unit


class Widened(Picture):
    """The stem, `a` to 32 channels, what is done with them, and `end`."""

    into = 32  # channels that `end` gets

    def build(self) -> None:
        self.a, self.end = unit(16, 32), unit(self.into, self.width)

    def rearranged(self, x: Tensor) -> Tensor:
        return x

    def features(self, x: Tensor) -> Tensor:
        return self.end(self.rearranged(self.a(x)))


@pruned(3)
class UnevenSplit(Widened):
    """`torch.split` into parts of 8 and 24 channels, each with a convolution of its own"""

    def build(self) -> None:
        super().build()
        self.left, self.right = unit(8, 16), unit(24, 16)

    def rearranged(self, x: Tensor) -> Tensor:
        left, right = torch.split(x, [8, 24], dim=1)
        return torch.cat((self.left(left), self.right(right)), dim=1)


@pruned(3)
class ChunkOfThree(Picture):
    """`chunk(3)`: one part gates another, the third is added"""

    def build(self) -> None:
        self.a, self.end = nn.Conv2d(16, 48, 3, padding=1), unit(16, 32)

    def features(self, x: Tensor) -> Tensor:
        one, gate, rest = self.a(x).chunk(3, dim=1)
        return self.end(one * gate.sigmoid() + rest)


@pruned(2)
class UnboundParts(Widened):
    """Channels seen as two parts by `view`, taken apart by `unbind`"""

    into = 16

    def rearranged(self, x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        first, second = x.view(count, 2, channels // 2, height, width).unbind(dim=1)
        return first * torch.tanh(second)


@pruned(2)
class PartialConvolution(Widened):
    """`narrow`: a quarter of the channels is convolved, the others pass by (FasterNet)"""

    def build(self) -> None:
        super().build()
        self.part = nn.Conv2d(8, 8, 3, padding=1, bias=False)

    def rearranged(self, x: Tensor) -> Tensor:
        return torch.cat([self.part(x.narrow(1, 0, 8)), x.narrow(1, 8, 24)], dim=1)


@pruned(2)
class SelectedGate(Widened):
    """`select`: the first channel is the gate of all the others"""

    def rearranged(self, x: Tensor) -> Tensor:
        return x * x.select(1, 0).unsqueeze(1).sigmoid()


@pruned(3)
class SliceBesideConvolution(Widened):
    """`torch.cat` of a slice and of a convolution of the other slice (CSP)"""

    into = 24

    def build(self) -> None:
        super().build()
        self.b = unit(24, 16)

    def rearranged(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, :8], self.b(x[:, 8:])], 1)


@pruned(2)
class DepthToSpace(Widened):
    """Channels become pixels by `view`, `permute` and `reshape`, in TensorFlow's order"""

    into = 8

    def rearranged(self, x: Tensor) -> Tensor:
        n, c, h, w = x.size()
        x = x.view(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2)
        return x.reshape(n, c // 4, 2 * h, 2 * w)


@pruned(2)
class PixelShuffled(Widened):
    """`nn.PixelShuffle` between two convolutions (super-resolution)"""

    into = 8

    def build(self) -> None:
        super().build()
        self.grow = nn.PixelShuffle(2)

    def rearranged(self, x: Tensor) -> Tensor:
        return self.grow(x)


@pruned(1)
class SpaceToDepth(Picture):
    """`F.pixel_unshuffle` of the images as the stem, and of features further on"""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.stem = unit(12, 16)

    def build(self) -> None:
        self.end = unit(64, 32)

    def forward(self, images: Tensor) -> Tensor:
        x = F.pixel_unshuffle(self.stem(F.pixel_unshuffle(images, 2)), 2)
        return self.head(self.end(x).mean((2, 3)))


@pruned(1)
class UnfoldedPatches(Picture):
    """`F.unfold` makes tokens of 2x2 pixels, channel after channel"""

    def build(self) -> None:
        self.embed = nn.Linear(64, 48)
        self.out = nn.Linear(48, 32)

    def forward(self, images: Tensor) -> Tensor:
        tokens = F.unfold(self.stem(images), kernel_size=2, stride=2).transpose(1, 2)
        return self.head(self.out(F.relu(self.embed(tokens))).mean(1))


@pruned(2)
class ShuffledGroups(Picture):
    """Grouped convolutions with a channel shuffle by hand between them (ShuffleNet)"""

    def build(self) -> None:
        self.a, self.b, self.end = unit(16, 32), unit(32, 32, groups=4), unit(32, 32)

    def features(self, x: Tensor) -> Tensor:
        x = self.a(x)
        n, c, h, w = x.size()
        x = x.view(n, 4, c // 4, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        return self.end(self.b(x))


@pruned(2)
class FlippedCopy(Widened):
    """Joined with a copy whose channels are in the reverse order, by `flip(1)`"""

    into = 64

    def rearranged(self, x: Tensor) -> Tensor:
        return torch.cat([x, x.flip(1)], dim=1)


@pruned(2)
class RolledChannels(Widened):
    """`torch.roll` along the channels"""

    def rearranged(self, x: Tensor) -> Tensor:
        return x + torch.roll(x, shifts=3, dims=1)


@pruned(2)
class ShiftedSlices(Widened):
    """Slices of the channels are shifted by a pixel each in another direction (S2-MLP)"""

    def rearranged(self, x: Tensor) -> Tensor:
        up, down, rest = x[:, :8], x[:, 8:16], x[:, 16:]
        return torch.cat([up.roll(1, 2), down.roll(-1, 2), rest], dim=1)


@pruned(2)
class ShiftedInPlace(Widened):
    """Slices of an empty tensor are filled one after the other, as TSM does"""

    def rearranged(self, x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        out[:, :8, 1:] = x[:, :8, :-1]
        out[:, 8:16, :-1] = x[:, 8:16, 1:]
        out[:, 16:] = x[:, 16:]
        return out


@pruned(3)
class SignedCopies(Picture):
    """`cat([x, -x])` before the ReLU (CReLU)"""

    def build(self) -> None:
        self.a, self.end = nn.Conv2d(16, 16, 3, padding=1), unit(32, 32)

    def features(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.end(torch.cat([x, -x], 1).relu())


@pruned(2)
class OrderedByBuffer(Widened):
    """Channels taken in an order that a buffer holds"""

    def build(self) -> None:
        super().build()
        self.register_buffer("order", torch.arange(32).view(8, 4).t().flatten())

    def rearranged(self, x: Tensor) -> Tensor:
        return x[:, self.order]


@pruned(2)
class EverySecondChannel(Widened):
    """Even channels multiply odd ones: `x[:, ::2] * x[:, 1::2]`"""

    into = 16

    def rearranged(self, x: Tensor) -> Tensor:
        return x[:, ::2] * x[:, 1::2]


@pruned(2)
class Maxout(Widened):
    """The highest of each four neighbouring channels (maxout)"""

    into = 8

    def rearranged(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, c // 4, 4, h, w).amax(dim=2)


@pruned(3)
class GatedConvolution(Picture):
    """`F.glu`: half of the channels gates the other half"""

    def build(self) -> None:
        self.a, self.end = nn.Conv2d(16, 64, 3, padding=1), unit(32, 32)

    def features(self, x: Tensor) -> Tensor:
        return self.end(F.glu(self.a(x), dim=1))


@pruned(3, parameters=0.6)
class HalvesOfBlocks(Picture):
    """Halves by `chunk`, blocks in a row on the last half, and all of them joined (C2f)"""

    def build(self) -> None:
        self.a = unit(16, 32, 1)
        self.blocks = nn.ModuleList([unit(16, 16), unit(16, 16)])
        self.end = unit(64, 32, 1)

    def features(self, x: Tensor) -> Tensor:
        parts = list(self.a(x).chunk(2, 1))
        parts.extend(block(parts[-1]) for block in self.blocks)
        return self.end(torch.cat(parts, 1))


@pruned(3)
class AddedToSlice(Widened):
    """A convolution of half of the channels is added in place to that half"""

    def build(self) -> None:
        super().build()
        self.inner, self.back = unit(16, 24), nn.Conv2d(24, 16, 1)

    def rearranged(self, x: Tensor) -> Tensor:
        first, second = x[:, :16], x[:, 16:]
        return torch.cat([first, second + self.back(self.inner(first))], dim=1)
