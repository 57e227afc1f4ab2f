"""Which channels of a network hang together, and so must go together.

`trace.py` follows them; what hangs together in the same layers is a group here, and what must stay
is named with the reason. Torch-Pruning (Fang et al., DepGraph, 2023, arXiv 2301.12900) removes the
channels of convolutions and Linears; its own graph takes reshapes and splits for other ones than
they are, so channels are followed here.
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
class Slice:
    """The numbers that one layer holds of a group's channels.

    Args:
        name: Of the layer in the network, or of a parameter by itself.
        layer: Mostly has a weight, and maybe a bias; or a parameter or buffer by itself.
        side: out, in or norm: which channels of the layer they are; of a parameter by itself the
            axis, as a digit.
        rows: (R,), the channel of the layer.
        units: (R,), the unit of the group that each row belongs to.
        makes: Whether the layer makes the channels, rather than reads them.
    """

    name: str
    layer: nn.Module | Tensor
    side: str
    rows: Tensor
    units: Tensor
    makes: bool = False

    @property
    def weight(self) -> Tensor | None:
        """The tensor that holds the numbers; None for a norm without any."""
        if isinstance(self.layer, Tensor):
            return self.layer
        return cast("Tensor | None", self.layer.weight)

    def of(self, weight: Tensor) -> Tensor:
        """Arrange the layer's weight, or what has its shape, as (R, numbers of one channel)."""
        return by_channel(self.layer, self.side, weight)[self.rows]


@dataclass(frozen=True, eq=False)
class Group:
    """Layers whose channels go together.

    Args:
        name: Of the layer whose outputs they are; for attention of the whole of it.
        units: How many can go one by one.
        width: Channels of one unit: 1, or one in each of equal parts, or those of a head.
        slices: Where their numbers are.
        attention: Whose heads the units are, which no rounding concerns; else None.
    """

    name: str
    units: int
    width: int
    slices: tuple[Slice, ...] = ()
    attention: HeadAttention | None = None

    def within(self, module: nn.Module) -> "Group":
        """Return the same group of a copy of its network."""
        attention = None if self.attention is None else module.get_submodule(self.name)
        slices = tuple(replace(part, layer=_place(module, part)) for part in self.slices)
        return replace(self, slices=slices, attention=cast("HeadAttention | None", attention))

    @property
    def channels(self) -> int:
        """Count the channels of the named layer."""
        return self.units * self.width

    @property
    def kind(self) -> tuple[str, ...]:
        """Distinguish groups by the layers that they are made of, whatever their width."""
        return tuple(f"{type(part.layer).__name__}.{part.side}" for part in self.slices)


@dataclass(frozen=True)
class Found:
    """What can be pruned of a network, and what cannot.

    Args:
        groups: In the order of the network.
        fixed: Why a layer's outputs stay, by its name.
    """

    groups: tuple[Group, ...]
    fixed: dict[str, str]

    def without(self, names: Iterable[str], reason: str) -> "Found":
        """Return the same, with some groups left whole for a reason."""
        gone = set(names)
        left = tuple(group for group in self.groups if group.name not in gone)
        return Found(left, {**self.fixed, **dict.fromkeys(sorted(gone), reason)})


def _place(module: nn.Module, part: Slice) -> nn.Module | Tensor:
    if not isinstance(part.layer, Tensor):
        return module.get_submodule(part.name)
    path, _, leaf = part.name.rpartition(".")
    return cast("Tensor", getattr(module.get_submodule(path), leaf))


def by_channel(layer: nn.Module | Tensor, side: str, weight: Tensor) -> Tensor:
    """Arrange a layer's weight as (channels, numbers of one channel), of its outputs or inputs."""
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
    """Remove units from a network, in place; its groups are void then.

    All at once: indices stay those before, and nothing has to be traced again.

    Args:
        module: Whose groups they are.
        chosen: Groups, each with the indices of the units that go.
    """
    gone: dict[tuple[int, str], tuple[Slice, set[int]]] = {}
    for group, indices in chosen:
        if group.attention is not None:
            if indices:
                group.attention.remove_heads(indices)
            continue
        for part in group.slices:
            rows = part.rows[torch.isin(part.units, torch.tensor(indices, dtype=torch.int64))]
            gone.setdefault((id(part.layer), part.side), (part, set()))[1].update(rows.tolist())
    tied = _tied(module)
    for part, cut in gone.values():
        if cut:
            _cut(module, part, sorted(cut))
    for (first, leaf), *others in tied:
        for owner, name in others:
            setattr(owner, name, getattr(first, leaf))


def _tied(module: nn.Module) -> list[list[tuple[nn.Module, str]]]:
    """List the places of parameters that have several."""
    places: dict[int, list[tuple[nn.Module, str]]] = defaultdict(list)
    for part in module.modules():
        for leaf, parameter in part._parameters.items():
            if parameter is not None:
                places[id(parameter)].append((part, leaf))
    return [owners for owners in places.values() if len(owners) > 1]


def _cut(module: nn.Module, part: Slice, rows: list[int]) -> None:
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
    gone = set(rows)
    rest = [row for row in range(tensor.shape[axis]) if row not in gone]
    left = tensor.detach().index_select(axis, torch.tensor(rest, device=tensor.device))
    return nn.Parameter(left) if isinstance(tensor, nn.Parameter) else left
