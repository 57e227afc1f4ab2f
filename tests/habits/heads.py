"""Ways to come from features to logits."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from habits.parts import Picture, pruned, unit


class Headed(Picture):
    """The stem, `a` to 32 channels at 8x8, and what makes logits of them."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        del self.head
        self.build_head(num_classes)

    def build(self) -> None:
        self.a = unit(16, 32, stride=2)

    def build_head(self, num_classes: int) -> None:
        self.fc = nn.Linear(32, num_classes)

    def logits(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(self.a(self.stem(images)))


@pruned(2)
class ConvolutionAsHead(Headed):
    """A convolution as large as the picture gives the logits, flattened"""

    def build_head(self, num_classes: int) -> None:
        self.classify = nn.Conv2d(32, num_classes, kernel_size=8)

    def logits(self, x: Tensor) -> Tensor:
        return self.classify(x).flatten(1)


@pruned(2)
class LogitsOfPixels(Headed):
    """Logits for every pixel, joined by `logsumexp`"""

    def build_head(self, num_classes: int) -> None:
        self.classify = nn.Conv2d(32, num_classes, 1)

    def logits(self, x: Tensor) -> Tensor:
        return self.classify(x).flatten(2).logsumexp(dim=2)


@pruned(1)
class HeadByEinsum(Headed):
    """A parameter as the head, by `einsum`; no layer is as wide as the classes"""

    def build_head(self, num_classes: int) -> None:
        self.classes = nn.Parameter(0.2 * torch.randn(num_classes, 32))

    def logits(self, x: Tensor) -> Tensor:
        return torch.einsum("nc,kc->nk", x.mean((2, 3)), self.classes)


@pruned(1, over_channels=True)
class CosineHead(Headed):
    """Features and weights normalized, times a learned scale (cosine classifier)"""

    def build_head(self, num_classes: int) -> None:
        self.weight = nn.Parameter(torch.randn(num_classes, 32))
        self.scale = nn.Parameter(torch.tensor(10.0))

    def logits(self, x: Tensor) -> Tensor:
        x = F.normalize(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return self.scale * F.linear(x, F.normalize(self.weight))


@pruned(3)
class HiddenLayerInHead(Headed):
    """A Sequential of Linear, batch norm, ReLU, dropout, Linear"""

    def build_head(self, num_classes: int) -> None:
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(32, 48),
            nn.BatchNorm1d(48),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(48, num_classes),
        )

    def logits(self, x: Tensor) -> Tensor:
        return self.classifier(x.amax((2, 3), keepdim=True))


@pruned(2)
class SumOfHeads(Headed):
    """The sum of two heads, on the mean and on the maximum"""

    def build_head(self, num_classes: int) -> None:
        self.mean, self.top = nn.Linear(32, num_classes), nn.Linear(32, num_classes)

    def logits(self, x: Tensor) -> Tensor:
        return self.mean(x.mean((2, 3))) + self.top(F.adaptive_max_pool2d(x, 1).flatten(1))


@pruned(2)
class HeadOfEachClass(Headed):
    """A Linear with one output for each class, all concatenated"""

    def build_head(self, num_classes: int) -> None:
        self.each = nn.ModuleList([nn.Linear(32, 1) for _ in range(num_classes)])

    def logits(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        return torch.cat([each(x) for each in self.each], dim=1)


@pruned(2)
class SeveralOutputsOfEachClass(Headed):
    """Twice as many outputs as classes, the higher of each two counts"""

    def build_head(self, num_classes: int) -> None:
        self.fc = nn.Linear(32, 2 * num_classes)

    def logits(self, x: Tensor) -> Tensor:
        y = self.fc(x.mean((2, 3)))
        return y.view(y.size(0), -1, 2).max(dim=2).values


@pruned(2)
class TwoLevels(Headed):
    """Logits of coarse classes, looked up by a buffer, are added to those of fine ones"""

    def build_head(self, num_classes: int) -> None:
        self.coarse, self.fine = nn.Linear(32, 3), nn.Linear(32, num_classes)
        self.register_buffer("parent", torch.arange(num_classes) % 3)

    def logits(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        return self.fine(x) + self.coarse(x)[:, self.parent]


@pruned(2)
class MixedHeads(Headed):
    """A softmax decides for each image how much each of three heads counts"""

    def build_head(self, num_classes: int) -> None:
        self.heads = nn.ModuleList([nn.Linear(32, num_classes) for _ in range(3)])
        self.choose = nn.Linear(32, 3)

    def logits(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        answers = torch.stack([head(x) for head in self.heads], dim=2)
        return (answers @ self.choose(x).softmax(1).unsqueeze(2)).squeeze(2)


@pruned(2)
class FlattenedBySize(Headed):
    """`.view(x.size(0), -1)` of channels and pixels before the Linear"""

    def build_head(self, num_classes: int) -> None:
        self.fc1, self.fc2 = nn.Linear(32 * 64, 24), nn.Linear(24, num_classes)

    def logits(self, x: Tensor) -> Tensor:
        x = x.view(x.size(0), -1)
        return self.fc2(F.relu(self.fc1(x)))


@pruned(2)
class FlattenedByNumbers(Headed):
    """`.view(-1, 32 * 8 * 8)`: the sizes are written out"""

    def build_head(self, num_classes: int) -> None:
        self.fc1, self.fc2 = nn.Linear(32 * 8 * 8, 24), nn.Linear(24, num_classes)

    def logits(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(x.view(-1, 32 * 8 * 8))))


@pruned(2)
class FlattenedChannelsLast(Headed):
    """Flattened after `permute(0, 2, 3, 1)`: the channels of a pixel lie together"""

    def build_head(self, num_classes: int) -> None:
        self.fc = nn.Linear(32 * 16, num_classes)

    def logits(self, x: Tensor) -> Tensor:
        return self.fc(F.max_pool2d(x, 2).permute(0, 2, 3, 1).flatten(1))


@pruned(2)
class PooledToFour(Headed):
    """`AdaptiveAvgPool2d(2)` and `nn.Flatten` in one Sequential"""

    def build_head(self, num_classes: int) -> None:
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, num_classes)
        )

    def logits(self, x: Tensor) -> Tensor:
        return self.head(x)


@pruned(2)
class MeanBesideMaximum(Headed):
    """Mean and maximum of the pixels, concatenated (fastai)"""

    def build_head(self, num_classes: int) -> None:
        self.fc = nn.Linear(64, num_classes)

    def logits(self, x: Tensor) -> Tensor:
        return self.fc(torch.cat([x.amax(dim=(-2, -1)), x.mean(dim=(-2, -1))], dim=1))


@pruned(2)
class HeadOfEveryStage(Headed):
    """The means of the stem and of `a`, concatenated"""

    def build_head(self, num_classes: int) -> None:
        self.fc = nn.Linear(48, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        low = self.stem(images)
        return self.fc(torch.hstack([low.mean((2, 3)), self.a(low).mean((2, 3))]))


@pruned(2)
class LearnedPower(Headed):
    """The head sees the learned power mean of all pixels (GeM)"""

    def build_head(self, num_classes: int) -> None:
        self.p, self.fc = nn.Parameter(torch.tensor(3.0)), nn.Linear(32, num_classes)

    def logits(self, x: Tensor) -> Tensor:
        x = x.clamp(min=1e-6).pow(self.p).mean((-2, -1)).pow(1.0 / self.p)
        return self.fc(x)


@pruned(1, over_channels=True)
class SoftAssignment(Headed):
    """Pixels are softly assigned to centres, their residuals summed and normalized (NetVLAD)"""

    def build_head(self, num_classes: int) -> None:
        self.assign, self.centres = nn.Conv2d(32, 4, 1), nn.Parameter(torch.rand(4, 32))
        self.fc = nn.Linear(128, num_classes)

    def logits(self, x: Tensor) -> Tensor:
        share = F.softmax(self.assign(x).flatten(2), dim=1)
        apart = x.flatten(2).unsqueeze(1) - self.centres[None, :, :, None]
        sums = F.normalize((share.unsqueeze(2) * apart).sum(dim=-1), dim=2)
        return self.fc(F.normalize(sums.flatten(1), dim=1) * 4)


@pruned(2)
class BilinearPooling(Headed):
    """Products of all pairs of channels, summed over the pixels (bilinear pooling)"""

    def build_head(self, num_classes: int) -> None:
        self.down, self.fc = nn.Conv2d(32, 12, 1), nn.Linear(144, num_classes)

    def logits(self, x: Tensor) -> Tensor:
        x = self.down(x).flatten(2)
        pairs = torch.bmm(x, x.transpose(1, 2)).div(x.size(2)).view(x.size(0), -1)
        return self.fc(torch.sign(pairs) * torch.sqrt(pairs.abs() + 1e-5))


@pruned(2)
class HighestPixels(Headed):
    """The mean of the four highest pixels of every channel (k-max pooling)"""

    def logits(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(2).topk(4, dim=2).values.mean(2))


@pruned(3)
class RowsAsSequence(Headed):
    """Pixels in a row, a `nn.Conv1d` and a `nn.BatchNorm1d` over them"""

    def build_head(self, num_classes: int) -> None:
        self.along, self.norm = nn.Conv1d(32, 24, 3, padding=1), nn.BatchNorm1d(24)
        self.fc = nn.Linear(24, num_classes)

    def logits(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.norm(self.along(x.flatten(2)))).amax(-1))


@pruned(1)
class LastOfLstm(Headed):
    """Rows of the picture through an `nn.LSTM`, the last one answers"""

    def build_head(self, num_classes: int) -> None:
        self.rnn, self.fc = nn.LSTM(32 * 8, 24, batch_first=True), nn.Linear(24, num_classes)

    def logits(self, x: Tensor) -> Tensor:
        y, _ = self.rnn(x.permute(0, 2, 1, 3).flatten(2))
        return self.fc(y[:, -1])


@pruned(1)
class StateOfGru(Headed):
    """A `nn.GRU` in both directions over the pixels, its last states joined"""

    def build_head(self, num_classes: int) -> None:
        self.rnn = nn.GRU(32, 16, bidirectional=True)
        self.fc = nn.Linear(32, num_classes)

    def logits(self, x: Tensor) -> Tensor:
        _, state = self.rnn(F.max_pool2d(x, 2).flatten(2).permute(2, 0, 1))
        return self.fc(torch.cat([state[0], state[1]], dim=1))


@pruned(2)
class LogProbabilities(Headed):
    """Ends in `F.log_softmax`, as PyTorch's MNIST example does"""

    def logits(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.fc(x.mean((2, 3))), dim=1)


@pruned(2)
class DroppedOften(Headed):
    """While it trains, the mean of five dropouts of the same features (multi-sample dropout)"""

    def build_head(self, num_classes: int) -> None:
        self.fc = nn.Linear(32, num_classes)
        self.drops = nn.ModuleList([nn.Dropout(0.3) for _ in range(5)])

    def logits(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        if self.training:
            return torch.stack([self.fc(drop(x)) for drop in self.drops]).mean(dim=0)
        return self.fc(x)


@pruned(1)
class NormBeforeHead(Headed):
    """A batch norm without shift between features and head (person re-identification)"""

    def build_head(self, num_classes: int) -> None:
        self.neck, self.fc = nn.BatchNorm1d(32), nn.Linear(32, num_classes, bias=False)
        self.neck.bias.requires_grad_(False)

    def logits(self, x: Tensor) -> Tensor:
        return self.fc(self.neck(x.mean((2, 3))))


@pruned(3)
class HeadDefinedFirst(nn.Module):
    """The head is defined before the body, which ends in as many channels as there are classes"""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(24, num_classes)
        self.stem, self.narrow = unit(3, 32, stride=2), unit(32, num_classes, 1)
        self.wide = unit(num_classes, 24)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.wide(self.narrow(self.stem(images))).mean((2, 3)))


@pruned(2)
class HeadNeverUsed(Headed):
    """A layer as wide as the classes is defined last and never called"""

    def build_head(self, num_classes: int) -> None:
        self.fc = nn.Linear(32, num_classes)
        self.spare = nn.Sequential(nn.Conv2d(32, 16, 1), nn.Conv2d(16, num_classes, 1))


@pruned(2)
class ScaledLogits(Headed):
    """Logits over a temperature in a buffer, kept within bounds by `clamp`"""

    def build_head(self, num_classes: int) -> None:
        self.fc = nn.Linear(32, num_classes)
        self.register_buffer("temperature", torch.tensor(0.7))

    def logits(self, x: Tensor) -> Tensor:
        return (self.fc(x.mean((2, 3))) / self.temperature).clamp(-50, 50)


@pruned(2)
class DistanceToPrototypes(Headed):
    """Negative squared distances to learned prototypes in a space of 16 (prototype networks)"""

    def build_head(self, num_classes: int) -> None:
        self.embed = nn.Linear(32, 16)
        self.prototypes = nn.Parameter(torch.randn(num_classes, 16))

    def logits(self, x: Tensor) -> Tensor:
        x = self.embed(x.mean((2, 3)))
        return -(x.unsqueeze(1) - self.prototypes).pow(2).sum(-1)
