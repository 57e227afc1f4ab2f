"""Weight-only quantization: few bits on the disk, float32 arithmetic; and rounding of weights."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from paredown.errors import require
from paredown.model import layers
from paredown.quantize.affine import affine, round_trip
from paredown.quantize.layers import resolved
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
        numerics = resolved(self.numerics, variant.module, context.dataset.input_shape)
        return replace(variant, numerics=numerics, curves=())


def rounded(module: "nn.Module", numerics: Numerics) -> "nn.Module":
    """Copy a network with every weight rounded to what `numerics.bits` can tell apart.

    Args:
        module: In eval mode; not changed.
        numerics: bits, per_channel and keep_float count; keep_float is resolved.
    """
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
    """Refuse to train with rounding what computes its weights anew at every call.

    Raises:
        ConfigError: Naming the first layer that does, by a weight norm or the like.
    """
    for name in layers(module):
        stored = "weight" in module.get_submodule(name)._parameters
        hint = "quantize=int8 rounds it after training"
        require(stored, "quantize", "train layers that store their weights", name, hint)


def round_weight(weight: "Tensor", numerics: Numerics) -> "Tensor":
    """Round a weight (outputs, ...) symmetrically, by channel or as a whole.

    The scale follows the largest weight, and no gradient flows through it.
    """
    over = tuple(range(1 if numerics.per_channel else 0, weight.ndim))
    bound = weight.detach().abs().amax(dim=over, keepdim=True)
    return round_trip(weight, affine(-bound, bound, numerics.bits, symmetric=True))


def gain(weight: "Tensor", norm: "nn.BatchNorm2d | None") -> "Tensor":
    """Give the factor that folding multiplies a weight by, channel by channel.

    gamma / sqrt(variance + epsilon), or 1 where no batch norm follows.

    Returns:
        (outputs, 1, ...), or a single 1.
    """
    import torch

    if norm is None:
        return torch.ones((), device=weight.device)
    assert norm.running_var is not None
    spread = (norm.running_var + norm.eps).sqrt()
    factor = 1 / spread if norm.weight is None else norm.weight / spread
    factor = torch.where(factor == 0, 1.0, factor)  # a dead channel: any factor will do
    return factor.detach().reshape(-1, *(1,) * (weight.ndim - 1))


def folded_layers(
    module: "nn.Module",
) -> "Iterator[tuple[str, nn.Module, nn.BatchNorm2d | None]]":
    """List the layers that hold weights, with the batch norm that an exporter folds into each.

    It is the one that is defined next and has as many channels; an engine rounds the product.

    Yields:
        Name, layer, and its batch norm or None.
    """
    from torch import nn

    parts = list(module.named_modules())
    weighted = set(layers(module))
    for at, (name, layer) in enumerate(parts):
        if name in weighted:
            after = parts[at + 1][1] if at + 1 < len(parts) else None
            width = getattr(layer, "out_channels", None)
            fits = isinstance(after, nn.BatchNorm2d) and after.num_features == width
            folds = fits and after._buffers["running_var"] is not None  # type: ignore[union-attr]  # else it looks at the batch
            yield name, layer, after if folds else None
