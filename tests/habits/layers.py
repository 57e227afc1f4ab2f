"""Layers that people write themselves or use in rare ways: norms, weights, activations."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from habits.parts import Picture, pruned, unit


class Between(Picture):
    """The stem, `a` without a norm to 32 channels, what follows it, and `end`."""

    def build(self) -> None:
        self.a, self.end = nn.Conv2d(16, 32, 3, padding=1), unit(32, 32)
        self.build_between()

    def build_between(self) -> None:
        """Make what `between` needs."""

    def between(self, x: Tensor) -> Tensor:
        return F.relu(x)

    def features(self, x: Tensor) -> Tensor:
        return self.end(self.between(self.a(x)))


@pruned(3, over_channels=True)
class GroupNormed(Between):
    """`nn.GroupNorm` of four groups before the next convolution"""

    def build_between(self) -> None:
        self.norm = nn.GroupNorm(4, 32)

    def between(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(x))


@pruned(3)
class InstanceNormed(Between):
    """`nn.InstanceNorm2d` with learned factors"""

    def build_between(self) -> None:
        self.norm = nn.InstanceNorm2d(32, affine=True)

    def between(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(x), 0.1)


@pruned(2)
class HalfInstanceNormed(Between):
    """Half of the channels get an instance norm, half a batch norm (IBN)"""

    def build_between(self) -> None:
        self.instance, self.batch = nn.InstanceNorm2d(16, affine=True), nn.BatchNorm2d(16)

    def between(self, x: Tensor) -> Tensor:
        one, other = torch.split(x, 16, 1)
        return F.relu(torch.cat((self.instance(one.contiguous()), self.batch(other)), 1))


@pruned(2, over_channels=True)
class RmsByHand(Between):
    """RMS norm over the channels, written by hand"""

    def build_between(self) -> None:
        self.gain = nn.Parameter(1 + 0.01 * torch.arange(32.0))

    def between(self, x: Tensor) -> Tensor:
        size = x.pow(2).mean(dim=1, keepdim=True)
        return F.relu(x * torch.rsqrt(size + 1e-6) * self.gain[None, :, None, None])


@pruned(2, over_channels=True)
class RmsBuiltIn(Between):
    """`nn.RMSNorm` on channels last"""

    def build_between(self) -> None:
        self.norm = nn.RMSNorm(32)

    def between(self, x: Tensor) -> Tensor:
        return F.gelu(self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


@pruned(2, over_channels=True)
class LayerNormByHand(Between):
    """Layer norm over the channels, by mean and squares, as ConvNeXt's code has it"""

    def build_between(self) -> None:
        self.weight, self.bias = nn.Parameter(torch.ones(32)), nn.Parameter(torch.zeros(32))

    def between(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        spread = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(spread + 1e-6)
        return F.gelu(self.weight[:, None, None] * x + self.bias[:, None, None])


class LayerNorm2d(nn.LayerNorm):
    """A layer norm over the channels of a picture."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


@pruned(3, over_channels=True)
class LayerNormTurned(Between):
    """A subclass of `nn.LayerNorm` turns the picture before and after `F.layer_norm`"""

    def build_between(self) -> None:
        self.norm = LayerNorm2d(32, eps=1e-6)

    def between(self, x: Tensor) -> Tensor:
        return F.gelu(self.norm(x))


@pruned(3)
class FilterResponse(Between):
    """Filter response norm: squares over the pixels, and a learned threshold (FRN, TLU)"""

    def build_between(self) -> None:
        self.gamma, self.beta = (nn.Parameter(torch.full((1, 32, 1, 1), v)) for v in (1.0, 0.1))
        self.tau = nn.Parameter(torch.zeros(1, 32, 1, 1))

    def between(self, x: Tensor) -> Tensor:
        size = x.pow(2).mean(dim=[2, 3], keepdim=True)
        return torch.max(self.gamma * x * torch.rsqrt(size + 1e-6) + self.beta, self.tau)


@pruned(3)
class NormWithoutAffine(Between):
    """`nn.BatchNorm2d(affine=False)`"""

    def build_between(self) -> None:
        self.norm = nn.BatchNorm2d(32, affine=False)

    def between(self, x: Tensor) -> Tensor:
        return F.elu(self.norm(x))


@pruned(2)
class NormOfBuffers(Between):
    """A frozen batch norm whose numbers are buffers, as detection networks have it"""

    def build_between(self) -> None:
        self.register_buffer("weight", torch.linspace(0.5, 1.5, 32))
        self.register_buffer("bias", torch.linspace(-0.5, 0.5, 32))
        self.register_buffer("running_mean", torch.zeros(32))
        self.register_buffer("running_var", torch.ones(32))

    def between(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        return F.relu(x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1))


@pruned(3)
class SlopeOfEach(Between):
    """`nn.PReLU` with a slope a channel, and one with a slope for all"""

    def build_between(self) -> None:
        self.each, self.all = nn.PReLU(32), nn.PReLU()

    def between(self, x: Tensor) -> Tensor:
        return self.all(self.each(x) - 0.1)


@pruned(3)
class FactorOfChannels(Between):
    """A learned factor and shift a channel, as parameters"""

    def build_between(self) -> None:
        self.factor = nn.Parameter(torch.linspace(0.5, 1.5, 32).view(1, 32, 1, 1))
        self.shift = nn.Parameter(torch.linspace(-0.2, 0.2, 32))

    def between(self, x: Tensor) -> Tensor:
        return F.relu(x * self.factor + self.shift.view(-1, 1, 1))


@pruned(2)
class KernelParameter(Between):
    """A convolution by function, with a parameter for its weight"""

    def build_between(self) -> None:
        self.kernel = nn.Parameter(0.1 * torch.randn(32, 32, 3, 3))
        self.offset = nn.Parameter(torch.zeros(32))

    def between(self, x: Tensor) -> Tensor:
        return F.relu(F.conv2d(F.relu(x), self.kernel, self.offset, padding=1))


@pruned(2)
class MatrixParameter(Between):
    """`x @ self.w`: a parameter mixes the channels"""

    def build_between(self) -> None:
        self.w = nn.Parameter(0.2 * torch.randn(32, 32))

    def between(self, x: Tensor) -> Tensor:
        return (F.relu(x).permute(0, 2, 3, 1) @ self.w).permute(0, 3, 1, 2).relu()


class OwnLinear(nn.Module):
    """A Linear as people write it for themselves."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(after, before))
        self.bias = nn.Parameter(torch.zeros(after))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@pruned(2)
class OwnLinears(Between):
    """A class `Linear` of one's own, by `F.linear`"""

    def build_between(self) -> None:
        self.grow, self.back = OwnLinear(32, 48), OwnLinear(48, 32)

    def between(self, x: Tensor) -> Tensor:
        return self.back(F.gelu(self.grow(F.relu(x).permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)


class Standardized(nn.Conv2d):
    """A convolution whose weights are standardized whenever they are used."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        weight = weight - weight.mean(dim=(1, 2, 3), keepdim=True)
        weight = weight / (weight.std(dim=(1, 2, 3), keepdim=True) + 1e-5)
        return self._conv_forward(x, weight, self.bias)


@pruned(2)
class StandardizedWeights(Between):
    """Weight standardization: inputs that go change what is left of the weights"""

    def build_between(self) -> None:
        self.b, self.norm = Standardized(32, 32, 3, padding=1), nn.BatchNorm2d(32)

    def between(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.b(F.relu(x))))


class Equalized(nn.Conv2d):
    """A convolution whose weight is multiplied when it is used, as in StyleGAN."""

    def forward(self, x: Tensor) -> Tensor:
        factor = 0.2
        return F.conv2d(x, self.weight * factor, self.bias, self.stride, self.padding)


@pruned(2)
class EqualizedRate(Between):
    """A subclass of `nn.Conv2d` multiplies its weight when it is used (equalized rate)"""

    def build_between(self) -> None:
        self.b = Equalized(32, 32, 3, padding=1)

    def between(self, x: Tensor) -> Tensor:
        return F.relu(self.b(F.relu(x)))


@pruned(2)
class WeightNormed(Between):
    """`parametrizations.weight_norm` on a convolution"""

    def build_between(self) -> None:
        self.b = parametrizations.weight_norm(nn.Conv2d(32, 24, 3, padding=1))
        self.c = nn.Conv2d(24, 32, 1)

    def between(self, x: Tensor) -> Tensor:
        return F.relu(self.c(F.relu(self.b(F.relu(x)))))


@pruned(2)
class WeightNormedByHook(Between):
    """The older `nn.utils.weight_norm`, a hook that sets the weight before each call"""

    def build_between(self) -> None:
        self.b = nn.utils.weight_norm(nn.Conv2d(32, 32, 3, padding=1))

    def between(self, x: Tensor) -> Tensor:
        return F.relu(self.b(F.relu(x)))


@pruned(2)
class SpectralNormed(Between):
    """`parametrizations.spectral_norm`: the weight over its largest singular value"""

    def build_between(self) -> None:
        self.b = parametrizations.spectral_norm(nn.Conv2d(32, 32, 3, padding=1))

    def between(self, x: Tensor) -> Tensor:
        return F.relu(self.b(F.relu(x)))


@pruned(2)
class TiedConvolutions(Between):
    """Two convolutions with one weight"""

    def build_between(self) -> None:
        self.b, self.c = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.c.weight = self.b.weight

    def between(self, x: Tensor) -> Tensor:
        return F.relu(self.c(F.relu(self.b(F.relu(x)))))


@pruned(3)
class RareShapes(Between):
    """Padding that wraps around, dilation, and kernels of 1x3 and 3x1"""

    def build_between(self) -> None:
        self.rows = nn.Conv2d(32, 32, (1, 3), padding=(0, 1), padding_mode="circular")
        self.columns = nn.Conv2d(32, 32, (3, 1), padding="same", dilation=(2, 1))

    def between(self, x: Tensor) -> Tensor:
        return F.hardswish(self.columns(F.relu(self.rows(F.relu(x)))))


@pruned(2)
class BlurredPooling(Between):
    """A fixed blur, kept in a buffer with one copy a channel, in the place of pooling"""

    def build_between(self) -> None:
        row = torch.tensor([1.0, 2.0, 1.0])
        blur = (row[:, None] * row) / 16
        self.register_buffer("blur", blur[None, None].repeat(32, 1, 1, 1))

    def between(self, x: Tensor) -> Tensor:
        x = F.pad(F.relu(x), (1, 1, 1, 1), mode="reflect")
        return F.conv2d(x, self.blur, stride=2, groups=self.blur.shape[0])


@pruned(2)
class SobelEdges(Picture):
    """Edges of the image by a fixed filter in a buffer, beside the image"""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.stem = unit(5, 16, stride=2)
        sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4
        self.register_buffer("sobel", torch.stack([sobel, sobel.t()])[:, None])

    def build(self) -> None:
        self.end = unit(16, 32)

    def forward(self, images: Tensor) -> Tensor:
        edges = F.conv2d(images.mean(1, keepdim=True), self.sobel, padding=1)
        x = self.stem(torch.cat([images, edges], 1))
        return self.head(self.end(x).mean((2, 3)))


@pruned(2)
class LearnedPooling(Between):
    """Pooling with a learned power (GeM) between convolutions and at the end"""

    def build_between(self) -> None:
        self.p = nn.Parameter(torch.ones(1) * 3)

    def gem(self, x: Tensor, size: int) -> Tensor:
        return F.avg_pool2d(x.clamp(min=1e-6).pow(self.p), size).pow(1.0 / self.p)

    def between(self, x: Tensor) -> Tensor:
        return self.gem(F.relu(x), 2)


class DropBlock(nn.Module):
    """Drops squares of a picture while it trains."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        seeds = (torch.rand(x.shape[0], *x.shape[2:], device=x.device) < 0.02).float()
        kept = 1 - F.max_pool2d(seeds[:, None], kernel_size=3, stride=1, padding=1)
        return x * kept * kept.numel() / kept.sum()


@pruned(3)
class DroppedSquares(Between):
    """DropBlock: squares of the picture are dropped while it trains"""

    def build_between(self) -> None:
        self.drop = DropBlock()

    def between(self, x: Tensor) -> Tensor:
        return self.drop(F.relu(x))


class Swish(torch.autograd.Function):
    """x * sigmoid(x) that keeps its input alone for the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        share = torch.sigmoid(x)
        return gradient * (share * (1 + x * (1 - share)))


@pruned(3)
class OwnGradient(Between):
    """An activation with a gradient of its own, by `torch.autograd.Function`"""

    def between(self, x: Tensor) -> Tensor:
        return Swish.apply(x)


@pruned(3)
class Checkpointed(Between):
    """Activations that are computed again on the way back (`checkpoint`)"""

    def build_between(self) -> None:
        self.b = unit(32, 32)

    def between(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        if self.training and x.requires_grad:
            return checkpoint(self.b, x, use_reentrant=False)
        return self.b(x)


@pruned(3)
class ActivationByLambda(Between):
    """An activation that is a lambda, and one that is found by its name"""

    def build_between(self) -> None:
        self.act, self.last = lambda x: x * torch.tanh(F.softplus(x)), getattr(F, "gelu")  # noqa: B009

    def between(self, x: Tensor) -> Tensor:
        return self.last(self.act(x))


@pruned(2)
class GroupedTranspose(Between):
    """`nn.ConvTranspose2d` of four groups"""

    def build_between(self) -> None:
        self.up = nn.ConvTranspose2d(32, 32, 2, 2, groups=4)

    def between(self, x: Tensor) -> Tensor:
        return F.relu(self.up(F.relu(F.max_pool2d(x, 2))))


@pruned(2)
class ThreeDimensions(Between):
    """A picture seen as one frame of a film: `nn.Conv3d`"""

    def build_between(self) -> None:
        self.film = nn.Conv3d(32, 32, (1, 3, 3), padding=(0, 1, 1))
        self.norm = nn.BatchNorm3d(32)

    def between(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.film(F.relu(x).unsqueeze(2)))).squeeze(2)


@pruned(2)
class ScaledActivation(Between):
    """Learned numbers for all channels: a temperature, by `exp`, and a slope"""

    def build_between(self) -> None:
        self.log_scale = nn.Parameter(torch.tensor(0.5))
        self.beta = nn.Parameter(torch.tensor(1.2))

    def between(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.beta * x) * self.log_scale.exp()
