"""Small networks for 3x32x32 images, each with one habit of real code."""

import sys

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Plain(nn.Module):
    """A convolution, what a habit does with it, and a classifier."""

    width = 8

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 4, 1)
        self.make()
        self.head = nn.Linear(self.width, num_classes)

    def make(self) -> None:
        """Make what else the habit needs."""

    def body(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(F.relu(self.stem(x))).mean((2, 3)))


class Viewed(Plain):  # cannot take channels last
    width = 8 * 8 * 8

    def forward(self, x):
        x = self.stem(x)
        return self.head(x.view(x.size(0), -1))


class ViewedInTraining(Plain):
    def body(self, x):
        return x.view(x.size(0), -1).view_as(x.contiguous()) if self.training else x


class Auxiliary(Plain):
    def make(self):
        self.side = nn.Linear(8, 10)

    def forward(self, x):
        logits = super().forward(x)
        return {"aux": self.stem(x), "out": logits} if self.training else logits


class Tuple(Plain):
    def forward(self, x):
        return super().forward(x), x


class Random(Plain):
    def body(self, x):
        return F.dropout(x)


class Beside(Plain):  # looks at the whole batch
    def body(self, x):
        return x - x.mean(0, keepdim=True)


class BatchNormed(Plain):
    def make(self):
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)

    def body(self, x):
        return self.norm(x)


class Pairs(Plain):
    def body(self, x):
        return x.reshape(2, -1, 8, 8)


class Squeezed(Plain):
    def forward(self, x):
        return super().forward(x).squeeze()


class Drawn(Plain):
    def make(self):
        self.mix = torch.randn(8, 1, 1)

    def body(self, x):
        return x * self.mix


class Volatile(Plain):
    def make(self):
        self.register_buffer("mix", torch.randn(8, 1, 1), persistent=False)

    def body(self, x):
        return x * self.mix


class Listed(Plain):
    def make(self):
        self.order = torch.randperm(8).tolist()

    def body(self, x):
        return x[:, self.order]


class Warming(Plain):  # counts, and scales by what it counted
    def make(self):
        self.calls, self.scale = 0, 1.0

    def body(self, x):
        if self.training:
            self.calls += 1
            self.scale = 1 + self.calls / 10
        return x * self.scale


class Late(Plain):  # makes a layer when it first sees an image
    def body(self, x):
        if not hasattr(self, "extra"):
            self.extra = nn.Conv2d(x.size(1), 8, 1)
        return self.extra(x)


class Lazy(Plain):
    def make(self):
        self.extra, self.norm = nn.LazyConv2d(8, 1), nn.LazyBatchNorm2d()

    def body(self, x):
        return self.norm(self.extra(x))


class Deep(Plain):  # weights of five dimensions
    def make(self):
        self.extra = nn.Conv3d(1, 1, 3, padding=1)

    def body(self, x):
        return self.extra(x[:, None])[:, 0]


class Tied(Plain):
    def make(self):
        self.one, self.two = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.two.weight = self.one.weight
        self.again = self.one  # a layer of two names

    def body(self, x):
        return self.again(self.two(self.one(x)))


class PartTied(Plain):  # a buffer that is a part of another
    def make(self):
        self.register_buffer("all", torch.linspace(0, 1, 16)[:, None, None])
        self.register_buffer("some", self.all[8:])

    def body(self, x):
        return x * self.some + self.all[:8]


class Frozen(Plain):
    def make(self):
        self.stem.requires_grad_(False)


class AllFrozen(Plain):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.requires_grad_(False)


class Parametrized(Plain):
    def make(self):
        self.one = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1))
        self.two = nn.utils.parametrizations.spectral_norm(nn.Conv2d(8, 8, 1))

    def body(self, x):
        return self.two(self.one(x))


class Hooked(Plain):  # the old forms of both
    def make(self):
        self.one = nn.utils.weight_norm(nn.Conv2d(8, 8, 1))
        self.two = nn.utils.spectral_norm(nn.Conv2d(8, 8, 1))

    def body(self, x):
        return self.two(self.one(x))


class Remembers(Plain):  # keeps what it computed last
    def body(self, x):
        self.last = x
        return x


class Double(Plain):
    def make(self):
        self.double()


class DoubleInside(Plain):
    def make(self):
        self.double()

    def forward(self, x):
        return super().forward(x.double()).float()


class DoubleLogits(Plain):
    def forward(self, x):
        return super().forward(x).double()


class Whole(Plain):
    def forward(self, x):
        return super().forward(x).long()


class Infinite(Plain):
    def forward(self, x):
        return super().forward(x).log() * 0


class Empty(Plain):
    def make(self):
        self.scale = nn.Parameter(torch.full((8, 1, 1), torch.nan))

    def body(self, x):
        return x * self.scale


class Exits(Plain):
    def forward(self, x):
        sys.exit("no GPU")


class ExitsAtOnce(Plain):
    def make(self):
        sys.exit(0)


class InPlace(Plain):
    def forward(self, x):
        x /= 2
        return super().forward(x)


class Steep(Plain):  # the gradient of a root at zero is infinite
    def body(self, x):
        return x + (x - x).sum(1, keepdim=True).pow(2).sqrt()


class Masked(Plain):  # a mask of -inf is no broken weight
    def make(self):
        self.register_buffer("mask", torch.full((8, 8), -torch.inf).triu(1))

    def body(self, x):
        return x @ torch.softmax(self.mask, dim=1)
