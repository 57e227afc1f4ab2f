"""Ways to write, name, train and keep a network; and networks that must be refused."""

import types
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from habits.parts import Picture, pruned, refused, unit


class Followed(Picture):
    """The stem, `a` to 32 channels, and `b`."""

    def build(self) -> None:
        self.a, self.b = unit(16, 32), unit(32, 32)

    def features(self, x: Tensor) -> Tensor:
        return self.b(self.a(x))


@refused("Python keywords")
class WordOfPython(Followed):
    """A layer in a `nn.ModuleDict` under the name `class`"""

    def build(self) -> None:
        super().build()
        self.layers = nn.ModuleDict({"class": nn.Conv2d(32, 32, 1)})

    def features(self, x: Tensor) -> Tensor:
        return self.b(self.layers["class"](self.a(x)))


@pruned(3)
class OddNames(nn.Module):
    """Layers in a `nn.ModuleDict` with names such as `3x3 conv`, `größe` and `a/b`"""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {"3x3 conv": unit(3, 16, stride=2), "größe": unit(16, 32), "a/b": unit(32, 32)}
        )
        self.layers["1"] = nn.Linear(32, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for name, layer in self.layers.items():
            x = layer(x.mean((2, 3)) if name == "1" else x)
        return x


class ConvNorm(nn.Sequential):
    """A Sequential that makes its own layers."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(
            OrderedDict(
                conv=nn.Conv2d(before, after, 3, 1, 1, bias=False), bn=nn.BatchNorm2d(after)
            )
        )


class AddedSequential(nn.Sequential):
    """A Sequential whose forward adds its input."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + super().forward(x))


@pruned(3)
class OwnSequential(Picture):
    """Subclasses of `nn.Sequential`, one with a forward of its own"""

    def build(self) -> None:
        self.a = AddedSequential(ConvNorm(16, 24), nn.ReLU(), ConvNorm(24, 16))
        self.b = ConvNorm(16, 32)

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.b(self.a(x)))


@pruned(3)
class OneSequential(nn.Sequential):
    """The whole network is one `nn.Sequential`, up to `nn.Flatten`"""

    def __init__(self, num_classes: int) -> None:
        body = unit(3, 16, stride=2), *unit(16, 32), *unit(32, 32, stride=2)
        end = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, num_classes)
        super().__init__(*body, *end)


@pruned(2)
class StemWithoutGradient(Followed):
    """The stem is frozen and runs within `torch.no_grad()`"""

    def build(self) -> None:
        super().build()
        self.stem.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.stem(images)
        return self.head(self.features(x).mean((2, 3)))


@pruned(2)
class FrozenNorms(Followed):
    """`train()` leaves the batch norms of the stem in eval mode, their weights frozen"""

    def build(self) -> None:
        super().build()
        for parameter in self.stem[1].parameters():
            parameter.requires_grad = False

    def train(self, mode: bool = True) -> "FrozenNorms":
        super().train(mode)
        self.stem[1].eval()
        return self


@pruned(3)
class DetachedBranch(Picture):
    """One branch sees `x.detach()`, the other `x`"""

    def build(self) -> None:
        self.a, self.b = unit(16, 24), unit(16, 32)
        self.c = nn.Conv2d(24, 32, 1)

    def features(self, x: Tensor) -> Tensor:
        return self.b(x) * torch.sigmoid(self.c(self.a(x.detach())))


@pruned(2)
class AnswersTwiceInTraining(Followed):
    """(logits, logits of an early head) while it trains"""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.early = nn.Linear(16, num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        x = self.stem(images)
        logits = self.head(self.features(x).mean((2, 3)))
        return (logits, self.early(x.mean((2, 3)))) if self.training else logits


@pruned(3)
class TriesFirst(Followed):
    """A `try` in forward, whose `except` handles images that do not fit"""

    def features(self, x: Tensor) -> Tensor:
        x = self.a(x)
        try:
            x = self.b(x + x.new_zeros(16, 16))
        except RuntimeError:
            x = self.b(F.interpolate(x, size=(16, 16)))
        return x


@pruned(2)
class CalledTwice(Picture):
    """One block with its norm is called twice"""

    def build(self) -> None:
        self.a, self.again = unit(16, 32), unit(32, 32)

    def features(self, x: Tensor) -> Tensor:
        return self.again(self.again(self.a(x)))


@pruned(2)
class OneKernelTwoNorms(Picture):
    """A convolution is called twice, each time with a norm of its own"""

    def build(self) -> None:
        self.a, self.conv = unit(16, 32), nn.Conv2d(32, 32, 3, 1, 1, bias=False)
        self.first, self.second = nn.BatchNorm2d(32), nn.BatchNorm2d(32)

    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(self.conv(self.a(x))))
        return F.relu(self.second(self.conv(x)) + x)


@pruned(3)
class MirroredTwice(Followed):
    """All of it runs on the image and on its mirror image; the mean answers"""

    def forward(self, images: Tensor) -> Tensor:
        whole = super().forward
        return 0.5 * (whole(images) + whole(images.flip(-1)))


@pruned(2)
class HeadOnTwoScales(Followed):
    """One convolution on two sizes of the picture, joined"""

    width = 48

    def build(self) -> None:
        self.shared = nn.Conv2d(16, 24, 3, padding=1)

    def features(self, x: Tensor) -> Tensor:
        small = F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
        large, small = F.relu(self.shared(x)), F.relu(self.shared(small))
        return torch.cat([F.avg_pool2d(large, 2), small], 1)


@pruned(3)
class RemembersFeatures(Followed):
    """Keeps its last features as an attribute, for a picture of what it looks at (Grad-CAM)"""

    def features(self, x: Tensor) -> Tensor:
        self.seen = self.a(x)
        return self.b(self.seen)


@pruned(3)
class HookedFeatures(Followed):
    """A forward hook collects features in a dict, the head sees two of them"""

    width = 48

    def build(self) -> None:
        super().build()
        self.taken: dict[str, Tensor] = {}
        self.stem.register_forward_hook(self.take)

    def take(self, _: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        self.taken["stem"] = output

    def features(self, x: Tensor) -> Tensor:
        return torch.cat([self.b(self.a(x)), self.taken["stem"]], 1)


@pruned(3)
class StrengthGrows(Followed):
    """A number that is no buffer changes while it trains: the strength of a branch"""

    def build(self) -> None:
        super().build()
        self.strength = 0.5

    def features(self, x: Tensor) -> Tensor:
        if self.training:
            self.strength = min(1.0, self.strength + 0.25)
        return self.b(self.a(x) * self.strength)


@pruned(3)
class ChosenForward(Followed):
    """The branch is chosen when it is built, as a bound method in an attribute"""

    def build(self) -> None:
        super().build()
        self.run = types.MethodType(ChosenForward.long, self)

    def long(self, x: Tensor) -> Tensor:
        return self.b(self.a(x))

    def features(self, x: Tensor) -> Tensor:
        return self.run(x)


@pruned(2)
class AssertsWidth(Followed):
    """Asserts how many channels there are between two layers"""

    def features(self, x: Tensor) -> Tensor:
        x = self.a(x)
        assert x.shape[1] == 32, "the block needs 32 channels"
        return self.b(x)


@pruned(2)
class WidthWrittenOut(Followed):
    """`view(-1, 32, 256)` and back, between two layers"""

    def features(self, x: Tensor) -> Tensor:
        x = self.a(x).view(-1, 32, 256)
        return self.b((x - x.mean(2, keepdim=True)).view(-1, 32, 16, 16))


@pruned(2)
class WidthFromAttribute(Followed):
    """Chooses what it does by the width that a layer says it has"""

    def features(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.b(x.reshape(x.shape[0], self.a[0].out_channels, 16, 16))


@pruned(3)
class NormalizesInside(Followed):
    """Means and deviations of the colors as buffers, taken off in forward"""

    def build(self) -> None:
        super().build()
        self.register_buffer("mean", torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.9, 1.0, 1.1]).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return super().forward((images - self.mean) / self.std)


@pruned(3)
class TakesMore(Followed):
    """`forward(images, return_features=False, *, mask=None)`"""

    def forward(
        self, images: Tensor, return_features: bool = False, *, mask: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        x = self.features(self.stem(images))
        if mask is not None:
            x = x * mask
        logits = self.head(x.mean((2, 3)))
        return (logits, x) if return_features else logits


@refused("float64")
class InDoublePrecision(Followed):
    """Weights and arithmetic in float64, logits in float32"""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.double()).float()


@pruned(2)
class LazyLayers(nn.Module):
    """`nn.LazyConv2d` and `nn.LazyLinear`, whose widths the first image decides"""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.a, self.b = nn.LazyConv2d(16, 3, 2), nn.LazyConv2d(32, 3, 2)
        self.head = nn.LazyLinear(num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(F.relu(self.b(F.relu(self.a(images)))).flatten(1))


@pruned(3)
class InitializesAll(Followed):
    """Goes through all its modules and initializes each by its kind"""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(part, nn.BatchNorm2d):
                nn.init.constant_(part.weight, 0.9)
            elif isinstance(part, nn.Linear):
                part.weight.data.normal_(0, 0.2)
                part.bias.data.zero_()


@refused("basis")
class TensorNotKept(Picture):
    """Random features in a plain tensor, which no file keeps"""

    def build(self) -> None:
        self.basis = torch.randn(32, 16) / 4

    def features(self, x: Tensor) -> Tensor:
        return F.relu(torch.einsum("nchw,dc->ndhw", x, self.basis))


@refused("places")
class BufferNotKept(Followed):
    """A random order of the pixels in a buffer with `persistent=False`"""

    def build(self) -> None:
        super().build()
        self.register_buffer("places", torch.randperm(256), persistent=False)

    def features(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.b(x.flatten(2)[:, :, self.places].view_as(x) + x)


@refused("extra")
class LayersInList(Followed):
    """Convolutions in a plain Python list: they are not trained, and no file keeps them"""

    def build(self) -> None:
        super().build()
        self.extra = [nn.Conv2d(32, 32, 1) for _ in range(2)]

    def features(self, x: Tensor) -> Tensor:
        x = self.a(x)
        for layer in self.extra:
            x = F.relu(layer(x))
        return self.b(x)


@refused("dropout")
class DropsAlways(Followed):
    """`F.dropout(x, 0.5)` without `self.training`: it drops at evaluation, too"""

    def features(self, x: Tensor) -> Tensor:
        return self.b(F.dropout(self.a(x), 0.5))


@refused("batch")
class StatisticsOfBatch(Picture):
    """A batch norm that keeps no statistics: every answer depends on the other images"""

    def build(self) -> None:
        self.a = nn.Conv2d(16, 32, 3, 1, 1)
        self.norm = nn.BatchNorm2d(32, track_running_stats=False)

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.a(x)))


@refused("batch")
class CentredByBatch(Followed):
    """Takes the mean over the batch off its features"""

    def features(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.b(x - x.mean(dim=0, keepdim=True))


@refused("image")
class SqueezesAll(Followed):
    """`.squeeze()` drops the batch's axis, too, when there is one image alone"""

    def forward(self, images: Tensor) -> Tensor:
        x = self.features(self.stem(images))
        return self.head(F.adaptive_avg_pool2d(x, 1).squeeze())


@refused("branches on the values of its input")
class DecidesByValues(Followed):
    """Does one thing for dark images and another for bright ones"""

    def features(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.b(x if x.mean() > 0.5 else 2 * x)


@refused("image")
class PairsOfImages(Followed):
    """Expects the images of a batch in pairs"""

    def forward(self, images: Tensor) -> Tensor:
        pairs = self.features(self.stem(images)).view(2, -1, 32, 16, 16)
        return self.head(pairs.flatten(0, 1).mean((2, 3)))


@refused("logits")
class NamedOutputs(Followed):
    """A dict of outputs"""

    def forward(self, images: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        x = self.features(self.stem(images)).mean((2, 3))
        return {"logits": self.head(x), "features": x}


@refused("logits")
class ProbabilitiesOfPixels(Followed):
    """Gives a map of logits, not one for each image"""

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(self.stem(images)).permute(0, 2, 3, 1))


@refused("channels can go")
class PixelsAlone(nn.Module):
    """A Linear on pixels: there is nothing besides the classifier"""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(3072, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.flatten(1))


@refused("square")
class RaisesForSize(Followed):
    """Refuses the images itself"""

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-1] != 224:
            raise ValueError("images must be square, 224 wide")
        return super().forward(images)
