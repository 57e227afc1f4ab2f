"""Groups of channels that must be removed together.

`trace.py` follows channels; those that lie in the same layers form a group here, and those that
must stay are listed with the reason. Torch-Pruning (Fang et al., DepGraph, 2023, arXiv 2301.12900)
cuts convolutions and Linears; its own graph misreads some reshapes and splits.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch_pruning as tp
from torch import Tensor, nn

from paredown.model.attention import HeadAttention
from paredown.prune.label_store import CONVOLUTION


@dataclass(frozen=True, eq=False)
class GroupMember:
    """A layer's share of a group's channels.

    Args:
        name: Of the layer in the network, or of a bare parameter.
        layer: A module with a weight and perhaps a bias; or a bare parameter or buffer.
        side: out, in or norm: the side of the layer the channels are on; for a bare parameter its
            axis, as a digit.
        rows: (R,), channels of the layer.
        units: (R,), the unit of the group that each row belongs to.
        produces: Whether the layer produces the channels, rather than reads them.
    """

    name: str
    layer: nn.Module | Tensor
    side: str
    rows: Tensor
    units: Tensor
    produces: bool = False

    @property
    def weight(self) -> Tensor | None:
        """The tensor that holds the numbers; None for a norm without any."""
        if isinstance(self.layer, Tensor):
            return self.layer
        return cast("Tensor | None", self.layer.weight)

    def rows_of(self, weight: Tensor) -> Tensor:
        """Arrange the layer's weight, or a tensor of its shape, as (R, numbers per channel)."""
        return by_channel(self.layer, self.side, weight)[self.rows]

    def within(self, module: nn.Module) -> "GroupMember":
        """Return the same member of a copy of its network."""
        if not isinstance(self.layer, Tensor):
            return replace(self, layer=module.get_submodule(self.name))
        path, _, leaf = self.name.rpartition(".")
        return replace(self, layer=cast("Tensor", getattr(module.get_submodule(path), leaf)))


@dataclass(frozen=True, eq=False)
class Group:
    """Layers whose channels are removed together.

    Args:
        name: Of the layer whose outputs they are, or of the attention.
        units: Number of separately removable units.
        width: Channels per unit: 1, or one in each of equal parts, or those of a head.
        members: Layers with these channels.
        attention: Whose heads the units are, without rounding; else None.
    """

    name: str
    units: int
    width: int
    members: tuple[GroupMember, ...] = ()
    attention: HeadAttention | None = None

    def within(self, module: nn.Module) -> "Group":
        """Return the same group of a copy of its network."""
        attention = None if self.attention is None else module.get_submodule(self.name)
        members = tuple(member.within(module) for member in self.members)
        return replace(self, members=members, attention=cast("HeadAttention | None", attention))

    @property
    def channels(self) -> int:
        """The channels of the named layer."""
        return self.units * self.width

    @property
    def kind(self) -> tuple[str, ...]:
        """The types and sides of its layers, whatever their width."""
        return tuple(f"{type(part.layer).__name__}.{part.side}" for part in self.members)


@dataclass(frozen=True)
class PruningGroups:
    """The groups of a network, and the layers that keep their width.

    Args:
        groups: In the order of the network.
        fixed: Why a layer's outputs stay, by its name.
    """

    groups: tuple[Group, ...]
    fixed: dict[str, str]

    @property
    def widths(self) -> dict[str, int]:
        """The channels of each group, by its name."""
        return {group.name: group.channels for group in self.groups}

    def without(self, names: Iterable[str], reason: str) -> "PruningGroups":
        """Return a copy in which some groups keep their width, for a reason."""
        excluded = set(names)
        groups = tuple(group for group in self.groups if group.name not in excluded)
        return PruningGroups(groups, {**self.fixed, **dict.fromkeys(sorted(excluded), reason)})


def by_channel(layer: nn.Module | Tensor, side: str, weight: Tensor) -> Tensor:
    """Arrange a layer's weight as (channels, numbers per channel), of its outputs or inputs."""
    if isinstance(layer, Tensor):
        return weight.movedim(int(side), 0).flatten(1) if weight.ndim > 1 else weight[:, None]
    if weight.ndim == 1:
        return weight[:, None]
    if isinstance(layer, CONVOLUTION) and layer.transposed:
        return weight.flatten(1) if side == "in" else weight.transpose(0, 1).flatten(1)
    if side != "in":
        return weight.flatten(1)
    parts = layer.groups if isinstance(layer, CONVOLUTION) else 1
    split = weight.reshape(parts, weight.shape[0] // parts, weight.shape[1], -1)
    return split.transpose(1, 2).reshape(parts * weight.shape[1], -1)


def remove(module: nn.Module, chosen: Sequence[tuple[Group, Sequence[int]]]) -> None:
    """Remove units from a network, in place and all at once; its groups are invalid afterwards."""
    cuts: dict[tuple[int, str], tuple[GroupMember, set[int]]] = {}
    for group, indices in chosen:
        if group.attention is not None:
            if indices:
                group.attention.remove_heads(indices)
            continue
        for part in group.members:
            rows = part.rows[torch.isin(part.units, torch.tensor(indices, dtype=torch.int64))]
            cuts.setdefault((id(part.layer), part.side), (part, set()))[1].update(rows.tolist())
    tied = _tied(module)
    for part, cut in cuts.values():
        if cut:
            _cut(module, part, sorted(cut))
    for (first, leaf), *others in tied:
        for owner, name in others:
            setattr(owner, name, getattr(first, leaf))


def _tied(module: nn.Module) -> list[list[tuple[nn.Module, str]]]:
    """Return the places of each parameter that has several."""
    places: dict[int, list[tuple[nn.Module, str]]] = defaultdict(list)
    for part in module.modules():
        for leaf, parameter in part._parameters.items():
            if parameter is not None:
                places[id(parameter)].append((part, leaf))
    return [owners for owners in places.values() if len(owners) > 1]


def _cut(module: nn.Module, part: GroupMember, rows: list[int]) -> None:
    """Remove rows of one layer's side, in place."""
    layer, out = part.layer, part.side == "out"
    if isinstance(layer, CONVOLUTION):
        if out and layer.groups > 1 and layer.groups == layer.in_channels == layer.out_channels:
            tp.prune_depthwise_conv_out_channels(layer, rows)
        else:
            (tp.prune_conv_out_channels if out else tp.prune_conv_in_channels)(layer, rows)
    elif isinstance(layer, nn.Linear):
        (tp.prune_linear_out_channels if out else tp.prune_linear_in_channels)(layer, rows)
    elif isinstance(layer, Tensor):
        path, _, leaf = part.name.rpartition(".")
        owner = module.get_submodule(path)
        if isinstance(owner, nn.RNNBase) and leaf == "weight_ih_l0":
            owner.input_size -= len(rows)
        setattr(owner, leaf, _without(getattr(owner, leaf), int(part.side), rows))
    else:
        _cut_norm(layer, rows)


def _cut_norm(layer: nn.Module, rows: list[int]) -> None:
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        tensor = getattr(layer, leaf, None)
        if tensor is not None:
            setattr(layer, leaf, _without(tensor, 0, rows))
    for name in ("num_features", "num_channels", "num_parameters"):
        if hasattr(layer, name):
            setattr(layer, name, getattr(layer, name) - len(rows))
    if isinstance(layer, (nn.LayerNorm, nn.RMSNorm)):
        layer.normalized_shape = (layer.normalized_shape[0] - len(rows),)


def _without(tensor: Tensor, axis: int, rows: list[int]) -> Tensor:
    excluded = set(rows)
    indices = [row for row in range(tensor.shape[axis]) if row not in excluded]
    rest = tensor.detach().index_select(axis, torch.tensor(indices, device=tensor.device))
    return nn.Parameter(rest) if isinstance(tensor, nn.Parameter) else rest
