"""Gates and attention of convolutional networks: over channels, over pixels."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from habits.parts import Picture, pruned, unit


class Gated(Picture):
    """The stem, `a` to 32 channels, a gate on them, and `end`."""

    def build(self) -> None:
        self.a, self.end = unit(16, 32), unit(32, 32)
        self.build_gate()

    def build_gate(self) -> None:
        """Make what `gated` needs."""

    def gated(self, x: Tensor) -> Tensor:
        return x

    def features(self, x: Tensor) -> Tensor:
        return self.end(self.gated(self.a(x)))


@pruned(4)
class SqueezeByConvolution(Gated):
    """Squeeze and excite by two 1x1 convolutions in a Sequential"""

    def build_gate(self) -> None:
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d((1, 1)),
            nn.Conv2d(32, 8, 1),
            nn.SiLU(),
            nn.Conv2d(8, 32, 1),
            nn.Hardsigmoid(),
        )

    def gated(self, x: Tensor) -> Tensor:
        return self.gate(x) * x


@pruned(4)
class SqueezeByLinear(Gated):
    """Squeeze and excite by Linears, with `view(b, c)` and `view(b, c, 1, 1)`"""

    def build_gate(self) -> None:
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(32, 8, bias=False), nn.ReLU(), nn.Linear(8, 32, bias=False), nn.Sigmoid()
        )

    def gated(self, x: Tensor) -> Tensor:
        b, c, _, _ = x.size()
        y = self.fc(self.pool(x).view(b, c)).view(b, c, 1, 1)
        return x * y.expand_as(x)


@pruned(4)
class SqueezeByMean(Gated):
    """Squeeze and excite by `mean([2, 3])`, the gate added to one"""

    def build_gate(self) -> None:
        self.down, self.up = nn.Conv2d(32, 8, 1), nn.Conv2d(8, 32, 1)

    def gated(self, x: Tensor) -> Tensor:
        return x * (1 + torch.tanh(self.up(F.relu(self.down(x.mean([2, 3], keepdim=True))))))


@pruned(2)
class NeighbouringChannels(Gated):
    """A convolution along the channels makes their gates (ECA)"""

    def build_gate(self) -> None:
        self.along = nn.Conv1d(1, 1, kernel_size=5, padding=2, bias=False)

    def gated(self, x: Tensor) -> Tensor:
        y = F.adaptive_avg_pool2d(x, 1)
        y = self.along(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * y.sigmoid().expand_as(x)


@pruned(3)
class SelectiveKernel(Picture):
    """Two sizes of kernel, a softmax between them for every channel (SKNet)"""

    def build(self) -> None:
        self.small, self.large = unit(16, 32), unit(16, 32, 5)
        self.down, self.up = nn.Linear(32, 16), nn.Linear(16, 64)
        self.end = unit(32, 32)

    def features(self, x: Tensor) -> Tensor:
        both = torch.stack([self.small(x), self.large(x)], dim=1)
        n, _, c = both.shape[:3]
        share = self.up(F.relu(self.down(both.sum(1).mean((2, 3))))).view(n, 2, c, 1, 1)
        return self.end((both * share.softmax(dim=1)).sum(dim=1))


@pruned(2, over_channels=True)
class GateOfPixels(Gated):
    """Mean and maximum over the channels make a gate of pixels (CBAM)"""

    def build_gate(self) -> None:
        self.place = nn.Conv2d(2, 1, 5, padding=2, bias=False)

    def gated(self, x: Tensor) -> Tensor:
        seen = [torch.mean(x, dim=1, keepdim=True), torch.max(x, dim=1, keepdim=True)[0]]
        return x * torch.sigmoid(self.place(torch.cat(seen, dim=1)))


@pruned(3)
class GateOfCoordinates(Gated):
    """Means of rows and of columns in one row, split again by its length (coordinate attention)"""

    def build_gate(self) -> None:
        self.mid, self.rows, self.columns = unit(32, 8, 1), nn.Conv2d(8, 32, 1), nn.Conv2d(8, 32, 1)

    def gated(self, x: Tensor) -> Tensor:
        _, _, h, w = x.size()
        rows, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True).permute(0, 1, 3, 2)
        rows, columns = torch.split(self.mid(torch.cat([rows, columns], dim=2)), [h, w], dim=2)
        return x * self.rows(rows).sigmoid() * self.columns(columns.transpose(2, 3)).sigmoid()


@pruned(3)
class GlobalContext(Gated):
    """A softmax over the pixels, multiplied with all of them by `matmul` (GCNet)"""

    def build_gate(self) -> None:
        self.key = nn.Conv2d(32, 1, 1)
        self.down, self.up = nn.Conv2d(32, 16, 1), nn.Conv2d(16, 32, 1)

    def gated(self, x: Tensor) -> Tensor:
        n, c, h, w = x.size()
        share = F.softmax(self.key(x).view(n, 1, h * w), dim=2).unsqueeze(-1)
        context = torch.matmul(x.view(n, c, h * w).unsqueeze(1), share).view(n, c, 1, 1)
        return x + self.up(F.relu(self.down(context)))


@pruned(3)
class NonLocal(Gated):
    """All pixels ask all others, by 1x1 convolutions and `bmm` (non-local)"""

    def build_gate(self) -> None:
        self.theta, self.phi, self.g = (nn.Conv2d(32, 16, 1) for _ in range(3))
        self.out = nn.Conv2d(16, 32, 1)

    def gated(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        theta, phi, g = (part(x).flatten(2) for part in (self.theta, self.phi, self.g))
        share = torch.bmm(theta.transpose(1, 2), phi).mul(0.25).softmax(-1)
        return x + self.out(torch.bmm(g, share.transpose(1, 2)).view(n, -1, h, w))


@pruned(2, over_channels=True)
class ResponseOfAll(Gated):
    """Every channel's size over the mean of all sizes (GRN, channels first)"""

    def build_gate(self) -> None:
        self.gamma = nn.Parameter(torch.full((1, 32, 1, 1), 0.3))
        self.beta = nn.Parameter(torch.full((1, 32, 1, 1), 0.1))

    def gated(self, x: Tensor) -> Tensor:
        size = torch.norm(x, p=2, dim=(2, 3), keepdim=True)
        share = size / (size.mean(dim=1, keepdim=True) + 1e-6)
        return self.gamma * (x * share) + self.beta + x


@pruned(1)
class KernelOfImage(Picture):
    """Kernels mixed anew for each image of a parameter with five axes (dynamic convolution)"""

    def build(self) -> None:
        self.kernels = nn.Parameter(0.1 * torch.randn(3, 24, 16, 3, 3))
        self.route, self.end = nn.Linear(16, 3), unit(24, 32)

    def features(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        share = self.route(x.mean((2, 3))).softmax(dim=1)
        kernels = torch.einsum("nk,koi->noi", share, self.kernels.flatten(2))
        made = kernels @ F.unfold(x, 3, padding=1)
        return self.end(F.relu(made.view(n, -1, h, w)))


@pruned(2)
class SoftmaxOverChannels(Gated):
    """A softmax over the channels gates them: what goes changes what stays"""

    def gated(self, x: Tensor) -> Tensor:
        return 8 * x * torch.softmax(F.adaptive_avg_pool2d(x, 1), dim=1)


@pruned(2)
class AxesInTurn(Gated):
    """A gate from each pair of axes, by permuting the picture (triplet attention)"""

    def build_gate(self) -> None:
        self.across = nn.Conv2d(16, 16, 1)

    def gated(self, x: Tensor) -> Tensor:
        turned = x.permute(0, 2, 1, 3)  # rows in the place of channels
        return x * self.across(turned).sigmoid().permute(0, 2, 1, 3)


@pruned(3)
class MultipliedBranches(Picture):
    """Two Linears on channels last, multiplied (StarNet)"""

    def build(self) -> None:
        self.f1, self.f2, self.back = nn.Linear(16, 48), nn.Linear(16, 48), nn.Linear(48, 32)

    def features(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        return self.back(F.relu6(self.f1(x)) * self.f2(x)).permute(0, 3, 1, 2)
