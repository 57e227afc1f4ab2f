"""Zeros that stay zeros: masks over a network's weights, kept through training, then baked in."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from paredown.model import layers
from paredown.prune.groups import Group, by_channel

Masks = Mapping[str, Tensor]
"""1 where a number stays and 0 where it goes, by the parameter's name."""


class _Mask(nn.Module):
    """Multiplies a parameter whenever it is read, whichever layer or function reads it."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask: Tensor
        self.register_buffer("mask", mask)

    def forward(self, parameter: Tensor) -> Tensor:
        return parameter * self.mask


@contextmanager
def masked(module: nn.Module, masks: Masks) -> Iterator[None]:
    """Hold what the masks take at zero, whatever an optimizer does; afterwards it is plain again.

    Args:
        module: Changed in place.
        masks: Of its parameters' shapes.
    """
    places = [name.rpartition(".") for name in masks]
    for (path, _, leaf), mask in zip(places, masks.values(), strict=True):
        parametrize.register_parametrization(module.get_submodule(path), leaf, _Mask(mask))
    try:
        yield
    finally:
        for path, _, leaf in places:
            parametrize.remove_parametrizations(module.get_submodule(path), leaf)


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Give the weights that can be zeroed, of convolutions and Linears, by name."""
    found = {}
    for name in layers(module):
        weight = module.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        found[f"{name}.weight"] = weight
    return found


def channel_masks(groups: Sequence[Group], units: Mapping[str, Sequence[int]]) -> Masks:
    """Take every number of some units of each group: what removes them leaves, in the old shape.

    Args:
        groups: Of the network.
        units: That go, by the group's name.
    """
    masks: dict[str, Tensor] = {}
    for group in groups:
        indices = torch.tensor(units[group.name], dtype=torch.int64)
        for part in group.slices:
            weight, gone = part.weight, part.rows[torch.isin(part.units, indices)]
            if weight is None:
                continue
            place = torch.arange(weight.numel()).view(weight.shape)
            rows = by_channel(part.layer, part.side, place)[gone].flatten()
            alone = isinstance(part.layer, Tensor)
            name = part.name if alone else f"{part.name}.weight"
            mask = masks.setdefault(name, torch.ones(weight.shape))
            mask.view(-1)[rows] = 0
            bias = None if alone else getattr(part.layer, "bias", None)
            if part.side != "in" and isinstance(bias, Tensor):
                masks.setdefault(f"{part.name}.bias", torch.ones(bias.shape))[gone] = 0
    return masks


def scattered_masks(weights: Mapping[str, Tensor], amount: float, scope: str) -> Masks:
    """Take the smallest weights, wherever they are.

    Args:
        weights: By name.
        amount: Fraction that goes, [0, 1).
        scope: local, of each tensor; global, of all together.
    """
    sizes = {name: weight.detach().abs() for name, weight in weights.items()}
    if scope == "local":
        return {
            name: _largest(size.flatten(), amount).view(size.shape) for name, size in sizes.items()
        }
    together = _largest(torch.cat([size.flatten() for size in sizes.values()]), amount)
    parts = torch.split(together, [size.numel() for size in sizes.values()])
    pairs = zip(sizes.items(), parts, strict=True)
    return {name: part.view(size.shape) for (name, size), part in pairs}


def two_of_four_masks(weights: Mapping[str, Tensor]) -> Masks:
    """Take the two smallest of every four weights that follow each other along the inputs.

    Args:
        weights: (outputs, inputs, ...) by name; inputs are a multiple of 4.
    """
    return {name: _two_of_four(weight.detach().abs()) for name, weight in weights.items()}


def _two_of_four(size: Tensor) -> Tensor:
    inputs_last = size.transpose(1, -1)
    fours = inputs_last.reshape(*inputs_last.shape[:-1], -1, 4)  # (outputs, ..., inputs / 4, 4)
    order = fours.argsort(dim=-1, stable=True)
    mask = torch.ones_like(fours).scatter_(-1, order[..., :2], 0)
    return mask.flatten(-2).transpose(1, -1).contiguous()


def _largest(sizes: Tensor, amount: float) -> Tensor:
    mask = torch.ones_like(sizes)
    mask[sizes.argsort(stable=True)[: round(amount * len(sizes))]] = 0
    return mask
