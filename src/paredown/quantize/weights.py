"""Weight-only quantization: few bits on the disk, float32 arithmetic; and rounding of weights."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from paredown.model import layers
from paredown.quantize.affine import affine, round_trip
from paredown.quantize.recipe import recipe
from paredown.variant import Context, Numerics, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Weights:
    """Ask the runtime to store weights as integers and to compute in float32.

    The file shrinks; it runs no faster, and mostly slower, since the engine turns the weights
    back at every inference.

    Args:
        bits: Of a stored weight; 4 or 8 where the runtime has them.
        per_channel: One scale a channel of a weight, rather than one a tensor.
        keep_float: Patterns of layers that stay in float32; `first` and `last` mean those layers.
    """

    source: ClassVar[None] = None
    training: ClassVar[None] = None
    note: ClassVar[str] = "weights only"

    bits: int
    per_channel: bool
    keep_float: list[str]

    def __post_init__(self) -> None:
        _ = self.numerics  # checks every setting

    @property
    def label(self) -> str:
        """Such as int4-weights."""
        return f"int{self.bits}-weights"

    @property
    def numerics(self) -> Numerics:
        """What the runtime is asked for."""
        return recipe(
            self.label,
            "weights",
            1.0,
            (),
            bits=self.bits,
            per_channel=self.per_channel,
            keep_float=self.keep_float,
        )

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return the same weights, to be lowered."""
        assert variant is not None
        numerics = self.numerics.resolve(layers(variant.module))
        return replace(variant, numerics=numerics, curves=())


def rounded(module: "nn.Module", numerics: Numerics) -> "nn.Module":
    """Copy a network with every weight rounded to what `numerics.bits` can tell apart.

    Args:
        module: In eval mode; not changed.
        numerics: bits, per_channel and keep_float count.
    """
    import torch

    module = copy.deepcopy(module)
    with torch.no_grad():
        for name, layer, gain in folded_layers(module):
            if not numerics.keeps_float(name):
                folded = layer.weight * gain
                layer.weight.copy_(round_weight(folded, numerics) / gain)
    return module


def round_weight(weight: "Tensor", numerics: Numerics) -> "Tensor":
    """Round a weight (outputs, ...) symmetrically, by channel or as a whole.

    The scale follows the largest weight, and no gradient flows through it.
    """
    over = tuple(range(1 if numerics.per_channel else 0, weight.ndim))
    bound = weight.detach().abs().amax(dim=over, keepdim=True)
    return round_trip(weight, affine(-bound, bound, numerics.bits, symmetric=True))


def folded_layers(module: "nn.Module") -> "Iterator[tuple[str, nn.Module, Tensor]]":
    """List the layers that hold weights, with the factor that folding multiplies each by.

    An exporter folds a batch norm into the convolution before it, and the engine rounds the
    product: weight * gamma / sqrt(variance + epsilon). Without a batch norm the factor is 1.

    Yields:
        Name, layer, and its factor, (outputs, 1, ...), or (1,) where there is no batch norm.
    """
    import torch
    from torch import nn

    previous: tuple[str, nn.Module] | None = None
    parts = dict(module.named_modules())
    weighted = set(layers(module))
    found: dict[str, tuple[nn.Module, Tensor]] = {}
    for name, part in parts.items():
        if name in weighted:
            found[name] = part, torch.ones(1)
            previous = name, part
        elif isinstance(part, nn.BatchNorm2d) and previous is not None:
            before, layer = previous
            assert part.running_var is not None
            if part.num_features == layer.weight.shape[0]:
                gain = part.weight / (part.running_var + part.eps).sqrt()
                shape = (-1,) + (1,) * (layer.weight.ndim - 1)
                found[before] = layer, gain.detach().reshape(shape)
            previous = None
    for name, (layer, gain) in found.items():
        yield name, layer, gain
