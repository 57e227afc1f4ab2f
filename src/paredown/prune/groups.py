"""Which channels of a network hang together, and so must go together.

Torch-Pruning follows the dependencies (Fang et al., DepGraph, 2023, arXiv 2301.12900); heads of
attention, equal parts of a split, and what must stay as it is are found here.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import Tensor, nn

from paredown.model import classifier
from paredown.model.attention import HeadAttention
from paredown.prune.graph import OP, Graph

CONVOLUTION, NORM = nn.modules.conv._ConvNd, (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Slice:
    """The numbers that one layer holds of a group's channels.

    Args:
        name: Of the layer in the network.
        layer: Has a weight, and maybe a bias.
        side: out, in or norm: which channels of the layer they are.
        rows: (R,), the channel of the layer.
        units: (R,), the unit of the group that each row belongs to.
    """

    name: str
    layer: nn.Module
    side: str
    rows: Tensor
    units: Tensor

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
        places: What Torch-Pruning does to each layer: a dependency, channels, their units.
        attention: Whose heads the units are, which no rounding concerns; else None.
    """

    name: str
    units: int
    width: int
    slices: tuple[Slice, ...] = ()
    places: tuple[tuple[tp.dependency.Dependency, Tensor, Tensor], ...] = ()
    attention: HeadAttention | None = None

    @property
    def channels(self) -> int:
        """Count the channels of the named layer."""
        return self.units * self.width

    @property
    def kind(self) -> tuple[str, ...]:
        """Tell groups apart by the layers that they are made of, whatever their width."""
        return tuple(f"{type(each.layer).__name__}.{each.side}" for each in self.slices)


@dataclass(frozen=True)
class Found:
    """What can be pruned of a network, and what cannot.

    Args:
        groups: In the order of the network.
        fixed: Why a layer's outputs stay, by its name.
    """

    groups: tuple[Group, ...]
    fixed: dict[str, str]


@torch.enable_grad()
def find_groups(module: nn.Module, classes: int, input_shape: tuple[int, int, int]) -> Found:
    """Find the groups of a network; its attention is exchanged for one whose heads can go.

    Args:
        module: Maps (N, C, H, W) to logits (N, classes); every parameter's `requires_grad` is
            turned on, since the dependencies are read off the autograd graph.
        classes: Width of the logits.
        input_shape: Channels, height and width of one image.
    """
    training = module.training
    attention = HeadAttention.put_into(module)
    module.requires_grad_(True)
    device = next(module.parameters()).device
    example = torch.zeros(2, *input_shape, device=device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Maximum recursive depth")  # attention: it goes on
        graph = Graph().build_dependency(module, (example,), verbose=False)
        stays = [classifier(module, classes), *(part.qkv for part in attention.values())]
        together = list(graph.get_all_groups(ignored_layers=stays))
    module.train(training)
    names = {part: name for name, part in module.named_modules()}
    groups, fixed = [], {}
    for found in together:
        root = found[0].dep.target.module
        reason = _reason(found)
        if reason:
            fixed[names[root]] = reason
        else:
            groups.append(_channels(graph, found, names))
    groups += [_heads(name, part) for name, part in attention.items() if part.heads > 1]
    order = {name: at for at, name in enumerate(names.values())}
    return Found(tuple(sorted(groups, key=lambda group: order[group.name])), fixed)


def by_channel(layer: nn.Module, side: str, weight: Tensor) -> Tensor:
    """Arrange a layer's weight as (channels, numbers of one channel), of its outputs or inputs."""
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
    gone: dict[tuple[int, object], tuple[tp.dependency.Dependency, set[int]]] = {}
    for group, indices in chosen:
        if group.attention is not None and indices:
            group.attention.remove_heads(indices)
        for dep, rows, units in group.places:
            key = id(dep.target.module), dep.handler
            taken = rows[torch.isin(units, torch.tensor(indices, dtype=units.dtype))]
            gone.setdefault(key, (dep, set()))[1].update(taken.tolist())
    names = {id(each): name for name, each in module.named_parameters()}
    for dep, channels in gone.values():
        if not channels:
            continue
        target = dep.target.module
        smaller = dep(sorted(channels))
        if isinstance(target, nn.Parameter):
            path, _, leaf = names[id(target)].rpartition(".")
            setattr(module.get_submodule(path), leaf, smaller)


def _channels(
    graph: tp.DependencyGraph, found: tp.dependency.Group, names: dict[nn.Module, str]
) -> Group:
    root = found[0].dep.target.module
    parts = _parts(graph, found)
    units = graph.get_out_channels(root) // parts
    places, slices = [], []
    for item in found.items:
        layer, rows = item.dep.target.module, torch.tensor(item.idxs)
        own = torch.tensor(item.root_idxs) % units
        if layer in names or isinstance(layer, nn.Parameter):
            places.append((item.dep, rows, own))
        if isinstance(layer, (CONVOLUTION, nn.Linear, *NORM)) and layer.weight is not None:
            outgoing = graph.is_out_channel_pruning_fn(item.dep.handler)
            side = "norm" if isinstance(layer, NORM) else "out" if outgoing else "in"
            slices.append(Slice(names[layer], layer, side, rows, own))
    return Group(names[root], units, parts, tuple(slices), tuple(places))


def _parts(graph: tp.DependencyGraph, found: tp.dependency.Group) -> int:
    """Count the equal parts that must lose the same channels each.

    Grouped convolutions and norms have them, and what `chunk` cuts into equal pieces.
    """
    parts = [1]
    for item in found.items:
        layer = item.dep.target.module
        pruner = graph.get_pruner_of_module(layer)
        depthwise = item.dep.target.type == OP.DEPTHWISE_CONV
        if item.dep.target.type == OP.SPLIT and layer.split_sizes:
            parts.append(len(layer.split_sizes))
        elif pruner is not None and not depthwise:
            outgoing = graph.is_out_channel_pruning_fn(item.dep.handler)
            count = pruner.get_out_channel_groups if outgoing else pruner.get_in_channel_groups
            parts.append(count(layer))
    return max(parts)


def _reason(found: tp.dependency.Group) -> str:
    """Say why the channels of a group must stay; empty if they need not."""
    for item in found.items:
        node = item.dep.target
        if hasattr(node, "regroups"):
            return "a reshape regroups the channels, as a shuffle or windows of attention do"
        if node.type == OP.PARAMETER and sum(size > 1 for size in node.module.shape) > 1:
            return "a table of parameters, such as a position embedding, has a column a channel"
        if node.type in (OP.MHA, OP.LSTM):
            return f"{type(node.module).__name__} has a fixed width"
    return ""


def _heads(name: str, attention: HeadAttention) -> Group:
    """Make a group of the heads of an attention."""
    heads, width = attention.heads, attention.head_width
    units = torch.arange(heads).repeat_interleave(width)
    rows = torch.arange(heads * width)
    slices = (
        Slice(f"{name}.qkv", attention.qkv, "out", torch.arange(3 * len(rows)), units.repeat(3)),
        Slice(f"{name}.out_proj", attention.out_proj, "in", rows, units),
    )
    return Group(name, heads, width, slices, attention=attention)
