"""Masks over a network's weights: zeros that stay zeros through training, then baked in.

`torch.nn.utils.prune` updates a masked weight only when its own layer runs; attention and code that
reads the weights of another layer would see stale ones. Parametrizations mask at every read.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from paredown.model import layers
from paredown.prune.groups import Group, by_channel

Masks = Mapping[str, Tensor]
"""1 for a number that stays and 0 for one that goes, by the parameter's name."""


class _Mask(nn.Module):
    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask: Tensor
        self.register_buffer("mask", mask)

    def forward(self, parameter: Tensor) -> Tensor:
        return parameter * self.mask


@contextmanager
def masked(module: nn.Module, masks: Masks) -> Iterator[None]:
    """Hold masked numbers at zero within the block; afterwards the zeros are plain weights."""
    places = [name.rpartition(".") for name in masks]
    for (path, _, leaf), mask in zip(places, masks.values(), strict=True):
        parametrize.register_parametrization(module.get_submodule(path), leaf, _Mask(mask))
    try:
        yield
    finally:
        for path, _, leaf in places:
            parametrize.remove_parametrizations(module.get_submodule(path), leaf)


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Return the weights of convolutions and Linears, by name."""
    weights = {f"{name}.weight": module.get_submodule(name).weight for name in layers(module)}
    return cast("dict[str, Tensor]", weights)


def channel_masks(groups: Sequence[Group], units: Mapping[str, Sequence[int]]) -> Masks:
    """Return masks over every number that would go with some units of each group."""
    masks: dict[str, Tensor] = {}
    for group in groups:
        indices = torch.tensor(units[group.name], dtype=torch.int64)
        for part in group.members:
            weight, rows = part.weight, part.rows[torch.isin(part.units, indices)]
            if weight is None:
                continue
            positions = torch.arange(weight.numel()).view(weight.shape)
            numbers = by_channel(part.layer, part.side, positions)[rows].flatten()
            alone = isinstance(part.layer, Tensor)
            name = part.name if alone else f"{part.name}.weight"
            masks.setdefault(name, torch.ones(weight.shape)).view(-1)[numbers] = 0
            bias = None if alone else getattr(part.layer, "bias", None)
            if part.side != "in" and isinstance(bias, Tensor):
                masks.setdefault(f"{part.name}.bias", torch.ones(bias.shape))[rows] = 0
    return masks


def scattered_masks(weights: Mapping[str, Tensor], amount: float, scope: str) -> Masks:
    """Return masks over the smallest weights of each tensor (local) or of all (global)."""
    sizes = {name: weight.detach().abs().flatten() for name, weight in weights.items()}
    if scope == "local":
        masks = [_largest(size, amount) for size in sizes.values()]
    else:
        together = _largest(torch.cat(list(sizes.values())), amount)
        masks = list(torch.split(together, [size.numel() for size in sizes.values()]))
    pairs = zip(weights.items(), masks, strict=True)
    return {name: mask.view(weight.shape) for (name, weight), mask in pairs}


def two_of_four_masks(weights: Mapping[str, Tensor]) -> Masks:
    """Return masks over the two smallest of every four consecutive weights along the inputs."""
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
