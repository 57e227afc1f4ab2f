"""Weight-only quantization: few bits on disk, float32 arithmetic; and the rounding of weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from paredown.errors import require
from paredown.model import layers
from paredown.quantize.affine import affine, round_trip
from paredown.quantize.recipe import PostTraining
from paredown.variant import Numerics

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Weights(PostTraining):
    """Ask the runtime to store weights as integers and to compute in float32.

    The file shrinks; it runs no faster and usually slower, since the engine converts the weights
    back at every inference.

    Args:
        bits: Per stored weight; 4 or 8 where the runtime has them.
        per_channel: One scale per channel of a weight, rather than one per tensor.
        keep_float: Patterns of layers that stay in float32; `first` and `last` mean those layers.
    """

    scheme: ClassVar[str] = "weights"
    note: ClassVar[str] = "weights only"

    bits: int
    per_channel: bool
    keep_float: list[str]

    @property
    def label(self) -> str:
        """Such as int4-weights."""
        return f"int{self.bits}-weights"


def rounded(module: "nn.Module", numerics: Numerics) -> "nn.Module":
    """Return a copy of a network in eval mode, with weights rounded to `numerics.bits`."""
    import torch

    from paredown.runtime.program import baked

    module = baked(module)
    with torch.no_grad():
        for name, layer, norm in folded_layers(module):
            if not numerics.keeps_float(name):
                weight: Tensor = layer.get_parameter("weight")
                factor = gain(weight, norm)
                weight.copy_(round_weight(weight * factor, numerics) / factor)
    return module


def require_plain(module: "nn.Module") -> None:
    """Raise ConfigError if a layer computes its weight at every call, by a weight norm say."""
    for name in layers(module):
        stored = "weight" in module.get_submodule(name)._parameters
        hint = "quantize=int8 rounds it after training"
        require(stored, "quantize", "train layers that store their weights", name, hint)


def round_weight(weight: "Tensor", numerics: Numerics) -> "Tensor":
    """Round a weight (outputs, ...) symmetrically, per channel or per tensor.

    The scale follows the largest weight, and no gradient flows through it.
    """
    axes = tuple(range(1 if numerics.per_channel else 0, weight.ndim))
    bound = weight.detach().abs().amax(dim=axes, keepdim=True)
    return round_trip(weight, affine(-bound, bound, numerics.bits, symmetric=True))


def gain(weight: "Tensor", norm: "nn.BatchNorm2d | None") -> "Tensor":
    """Return the factor per channel by which folding a batch norm multiplies a weight.

    gamma / sqrt(variance + epsilon), (outputs, 1, ...); or a single 1 without a batch norm.
    """
    import torch

    if norm is None:
        return torch.ones((), device=weight.device)
    assert norm.running_var is not None
    deviation = (norm.running_var + norm.eps).sqrt()
    factor = 1 / deviation if norm.weight is None else norm.weight / deviation
    factor = torch.where(factor == 0, 1.0, factor)  # a dead channel: any factor will do
    return factor.detach().reshape(-1, *(1,) * (weight.ndim - 1))


def folded_layers(module: "nn.Module") -> "Iterator[tuple[str, nn.Module, nn.BatchNorm2d | None]]":
    """Yield the name of each weighted layer, the layer, and the batch norm folded into it or None.

    An exporter folds the batch norm that is defined next, if it has as many channels.
    """
    from torch import nn

    modules = list(module.named_modules())
    weighted = set(layers(module))
    following = [layer for _, layer in modules[1:]] + [None]
    for (name, layer), norm in zip(modules, following, strict=True):
        if name in weighted:
            width = getattr(layer, "out_channels", None)
            fits = isinstance(norm, nn.BatchNorm2d) and norm.num_features == width
            tracks = fits and norm._buffers["running_var"] is not None  # else it uses the batch's
            yield name, layer, norm if tracks else None
