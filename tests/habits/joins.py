"""Branches that are joined: added, stacked, multiplied, concatenated, padded."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from habits.parts import Picture, pruned, unit


class Branches(Picture):
    """The stem, branches `a` and `b` of 32 channels each, how they are joined, and `end`."""

    into = 32  # channels that `end` gets

    def build(self) -> None:
        self.a, self.b, self.end = unit(16, 32), unit(16, 32, 1), unit(self.into, self.width)

    def joined(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def features(self, x: Tensor) -> Tensor:
        return self.end(self.joined(self.a(x), self.b(x)))


@pruned(3)
class StackedSum(Branches):
    """`torch.stack` of branches, summed over the new axis"""

    def joined(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([a, b]).sum(0)


@pruned(3)
class StackedMean(Branches):
    """`torch.stack` behind the batch's axis, and the mean of it"""

    def joined(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.stack((a, b), dim=1).mean(dim=1)


@pruned(3)
class SumOfList(Branches):
    """Python's `sum` over a list of branches, which begins with 0"""

    def joined(self, a: Tensor, b: Tensor) -> Tensor:
        return sum([a, b, a * b])


@pruned(3)
class HigherOfBranches(Branches):
    """`torch.maximum` of two branches"""

    def joined(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.maximum(a, b)


@pruned(3)
class WeighedFusion(Branches):
    """Learned weights of branches, kept positive and divided by their sum (BiFPN)"""

    def build(self) -> None:
        super().build()
        self.share = nn.Parameter(torch.tensor([1.0, 0.5]))

    def joined(self, a: Tensor, b: Tensor) -> Tensor:
        share = F.relu(self.share)
        share = share / (share.sum() + 1e-4)
        return share[0] * a + share[1] * b


@pruned(2)
class MixOfLayers(Branches):
    """A softmax over layers weighs the stack of them, by `einsum`"""

    def build(self) -> None:
        super().build()
        self.mix = nn.Parameter(torch.tensor([0.3, -0.2]))

    def joined(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("l,lnchw->nchw", self.mix.softmax(0), torch.stack([a, b]))


@pruned(5)
class DenselyJoined(Picture):
    """Every layer gets all before it, by a list that grows (DenseNet)"""

    width = 24

    def build(self) -> None:
        self.layers = nn.ModuleList([unit(16 + 8 * before, 8) for before in range(3)])
        self.transition = unit(40, 24, 1)

    def features(self, x: Tensor) -> Tensor:
        seen = [x]
        for layer in self.layers:
            seen.append(layer(torch.cat(seen, dim=1)))
        return self.transition(torch.cat(seen, dim=1))


@pruned(4)
class Hourglass(Picture):
    """Down twice and up again, each size added to the one above, enlarged (hourglass)"""

    def build(self) -> None:
        self.top, self.down, self.deep = (
            unit(16, 32),
            unit(32, 32, stride=2),
            unit(32, 48, stride=2),
        )
        self.back, self.end = unit(48, 32, 1), unit(32, 32)

    def features(self, x: Tensor) -> Tensor:
        top = self.top(x)
        middle = self.down(top)
        middle = middle + F.interpolate(self.back(self.deep(middle)), scale_factor=2.0)
        return self.end(top + F.interpolate(middle, size=top.shape[-2:], mode="nearest"))


@pruned(4)
class BilinearUpsample(Picture):
    """`nn.Upsample` with bilinear weights, and the skip joined to it (U-Net)"""

    def build(self) -> None:
        self.down, self.deep = unit(16, 24, stride=2), unit(24, 24)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.end = unit(40, 32)

    def features(self, x: Tensor) -> Tensor:
        return self.end(torch.cat([self.up(self.deep(self.down(x))), x], 1))


@pruned(2)
class Highway(Picture):
    """A gate between a layer and its input: t * h(x) + (1 - t) * x"""

    def build(self) -> None:
        self.plain, self.gate = nn.Conv2d(16, 16, 3, 1, 1), nn.Conv2d(16, 16, 3, 1, 1)
        self.end = unit(16, 32)

    def features(self, x: Tensor) -> Tensor:
        share = torch.sigmoid(self.gate(x) - 1)
        return self.end(share * F.relu(self.plain(x)) + (1 - share) * x)


@pruned(5)
class DilatedPyramid(Picture):
    """Dilated branches beside a pooled one, enlarged to their size (ASPP)"""

    def build(self) -> None:
        self.branches = nn.ModuleList(
            [nn.Conv2d(16, 16, 3, padding=rate, dilation=rate) for rate in (1, 2, 3)]
        )
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 16, 1), nn.ReLU())
        self.project = unit(64, 32, 1)

    def features(self, x: Tensor) -> Tensor:
        parts = [F.relu(branch(x)) for branch in self.branches]
        pooled = F.interpolate(
            self.pooled(x), size=x.shape[2:], mode="bilinear", align_corners=False
        )
        return self.project(torch.cat([*parts, pooled], dim=1))


class Padded(Picture):
    """A block whose shortcut has fewer channels than it."""

    def build(self) -> None:
        self.inner = unit(16, 24, stride=2)
        self.outer = nn.Sequential(nn.Conv2d(24, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32))
        self.end = unit(32, 32)

    def shortcut(self, x: Tensor) -> Tensor:
        return x

    def features(self, x: Tensor) -> Tensor:
        return self.end(F.relu(self.outer(self.inner(x)) + self.shortcut(x)))


@pruned(2)
class ZerosOnBothSides(Padded):
    """A shortcut with zero channels on both sides (option A of the CIFAR ResNets)"""

    def shortcut(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8), "constant", 0)


@pruned(2)
class ZerosBehind(Padded):
    """A shortcut with zero channels behind its own, by `F.pad`"""

    def shortcut(self, x: Tensor) -> Tensor:
        return F.pad(F.avg_pool2d(x, 2), (0, 0, 0, 0, 0, 16))


@pruned(2)
class ZerosConcatenated(Padded):
    """A shortcut with zero channels made by `new_zeros` and `cat`"""

    def shortcut(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(x, 2)
        return torch.cat([x, x.new_zeros(x.shape[0], 16, *x.shape[2:])], 1)


class Residual(Picture):
    """A residual block of 16 channels on the stem, and `end`."""

    def build(self) -> None:
        self.one = unit(16, 24)
        self.two = nn.Sequential(nn.Conv2d(24, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16))
        self.end = unit(16, 32)

    def added(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y

    def features(self, x: Tensor) -> Tensor:
        return self.end(F.relu(self.added(x, self.two(self.one(x)))))


@pruned(3)
class ScaledBranch(Residual):
    """A residual branch with one learned factor (ReZero)"""

    def build(self) -> None:
        super().build()
        self.alpha = nn.Parameter(torch.full((1,), 0.4))

    def added(self, x: Tensor, y: Tensor) -> Tensor:
        return x + self.alpha * y


@pruned(3)
class LayerScaled(Residual):
    """A residual branch with a learned factor for each channel (layer scale)"""

    def build(self) -> None:
        super().build()
        self.gamma = nn.Parameter(0.3 + 0.01 * torch.arange(16.0)[:, None, None])

    def added(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y.mul(self.gamma)


@pruned(3)
class DroppedPath(Residual):
    """A residual branch that is dropped for some images while it trains (drop path)"""

    def added(self, x: Tensor, y: Tensor) -> Tensor:
        if self.training:
            kept = torch.rand((x.shape[0],) + (1,) * (x.ndim - 1), device=x.device) < 0.8
            y = y.div(0.8) * kept
        return x + y


@pruned(3)
class SkippedBlock(Residual):
    """A block that is skipped for a whole batch at random while it trains"""

    def features(self, x: Tensor) -> Tensor:
        if self.training and torch.rand(1).item() < 0.5:
            return self.end(x)
        y = self.added(x, self.two(self.one(x)))
        return self.end(F.relu(y if self.training else 0.5 * (x + y)))


@pruned(3)
class AddedInPlace(Residual):
    """`out += x`, and an in-place ReLU after it"""

    def added(self, x: Tensor, y: Tensor) -> Tensor:
        y += x
        return F.relu_(y)


@pruned(2)
class ThreeToOne(Picture):
    """3x3, 1x1 and the norm of the input itself are added (RepVGG before it is fused)"""

    def build(self) -> None:
        self.dense = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16))
        self.point = nn.Sequential(nn.Conv2d(16, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.identity, self.end = nn.BatchNorm2d(16), unit(16, 32)

    def features(self, x: Tensor) -> Tensor:
        return self.end(F.relu(self.dense(x) + self.point(x) + self.identity(x)))


@pruned(3)
class GlobalBeside(Picture):
    """The mean over the picture, expanded, beside every pixel"""

    def build(self) -> None:
        self.a, self.end = unit(16, 16), unit(32, 32)

    def features(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.end(torch.cat([x, x.mean((2, 3), keepdim=True).expand_as(x)], 1))


@pruned(3)
class CoordinatesBeside(Picture):
    """Coordinates, made in `forward`, as two more channels (CoordConv)"""

    def build(self) -> None:
        self.a, self.end = unit(18, 24), unit(24, 32)

    def features(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        rows = torch.linspace(-1, 1, h, device=x.device).view(1, 1, h, 1).expand(n, 1, h, w)
        columns = torch.linspace(-1, 1, w, device=x.device).view(1, 1, 1, w).expand(n, 1, h, w)
        return self.end(self.a(torch.cat([x, rows, columns], 1)))


@pruned(4)
class TwoResolutions(Picture):
    """Two resolutions that exchange what they know (octave convolution, HRNet)"""

    width = 48

    def build(self) -> None:
        self.fine, self.coarse = unit(16, 24), unit(16, 24, stride=2)
        self.up, self.down = nn.Conv2d(24, 24, 1), nn.Conv2d(24, 24, 3, 2, 1)
        self.last = unit(24, 24)

    def features(self, x: Tensor) -> Tensor:
        fine, coarse = self.fine(x), self.coarse(x)
        both = (
            F.relu(fine + F.interpolate(self.up(coarse), scale_factor=2, mode="nearest")),
            F.relu(coarse + self.down(fine)),
        )
        return torch.cat([F.avg_pool2d(self.last(both[0]), 2), both[1]], 1)


@pruned(3)
class OneSidedPadding(Picture):
    """`F.pad` on the right and below alone, as TensorFlow pads (SAME)"""

    def build(self) -> None:
        self.a, self.end = nn.Conv2d(16, 24, 3, stride=2), unit(24, 32)

    def features(self, x: Tensor) -> Tensor:
        return self.end(F.relu(self.a(F.pad(x, (0, 1, 0, 1)))))


@pruned(3)
class ExpertsOfImage(Picture):
    """Several convolutions, weighed anew for each image by a softmax (mixture of experts)"""

    def build(self) -> None:
        self.experts = nn.ModuleList([nn.Conv2d(16, 24, 3, 1, 1) for _ in range(3)])
        self.route, self.end = nn.Linear(16, 3), unit(24, 32)

    def features(self, x: Tensor) -> Tensor:
        share = self.route(x.mean((2, 3))).softmax(dim=-1)
        made = torch.stack([expert(x) for expert in self.experts], dim=1)
        return self.end(F.relu((share[:, :, None, None, None] * made).sum(1)))
