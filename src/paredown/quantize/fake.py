"""Fake quantization: a network that computes in floats as if they were integers."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from paredown.quantize.affine import affine, round_trip
from paredown.quantize.weights import folded_layers, gain, round_weight
from paredown.variant import Numerics

ACTIVATION_BITS = 8
MOMENTUM = 0.1  # of the running ends of an activation's range


def straight_through(values: Tensor, rounded: Tensor) -> Tensor:
    """Return `rounded`, with the gradient of `values`."""
    return values + (rounded - values).detach()


class FakeWeight(nn.Module):
    """Rounds a weight as the runtime will: with the batch norm behind it folded in.

    torch.ao's FakeQuantize does not fold, and rounds on a grid of its own.
    """

    def __init__(self, numerics: Numerics, norm: nn.BatchNorm2d | None) -> None:
        super().__init__()
        self.numerics = numerics
        self.norm = (norm,)  # in a tuple, so that it is no submodule

    def forward(self, weight: Tensor) -> Tensor:
        """Round a weight (outputs, ...)."""
        factor = gain(weight, self.norm[0])
        return straight_through(weight, round_weight(weight * factor, self.numerics) / factor)


class FakeInput:
    """Rounds a layer's input, in a range that follows the training batches."""

    def __init__(self, symmetric: bool) -> None:
        self.symmetric = symmetric
        self.low: Tensor | None = None
        self.high: Tensor | None = None

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        """Run as the layer's forward pre-hook; inputs of any shape."""
        values = inputs[0].float()
        if layer.training or self.low is None:
            self._follow(*torch.aminmax(values.detach()))
        grid = affine(self.low, self.high, ACTIVATION_BITS, self.symmetric)
        least, most = (grid.least - grid.zero) * grid.scale, (grid.most - grid.zero) * grid.scale
        clipped = values.clip(least, most)
        return (straight_through(clipped, round_trip(clipped, grid)).to(inputs[0].dtype),)

    def _follow(self, low: Tensor, high: Tensor) -> None:
        if self.low is None or self.high is None:
            self.low, self.high = low, high
        self.low, self.high = self.low.lerp(low, MOMENTUM), self.high.lerp(high, MOMENTUM)


@contextmanager
def rounding(module: nn.Module, numerics: Numerics) -> Iterator[None]:
    """Compute as if in integers within the block; afterwards the weights stay rounded."""
    with ExitStack() as stack:
        for name, layer, norm in folded_layers(module):
            if not numerics.keeps_float(name):
                parametrize.register_parametrization(layer, "weight", FakeWeight(numerics, norm))
                stack.callback(parametrize.remove_parametrizations, layer, "weight")
                fake_input = FakeInput(numerics.symmetric)
                stack.enter_context(layer.register_forward_pre_hook(fake_input))
        yield
