"""Remove whole channels from a network, with everything that depends on them.

Torch-Pruning finds which layers hang together (Fang et al., DepGraph, 2023, arXiv 2301.12900).
How many channels stay is decided here: its own pruner rounds the kept channels down, and skips a
layer in silence where that gives none.
"""

import torch
import torch_pruning as tp
from torch import nn

from paredown.errors import RunError
from paredown.model import classifier


def kept_channels(channels: int, amount: float, round_to: int) -> int:
    """Count the channels that stay: the multiple of `round_to` nearest to what was asked.

    At least one multiple, never more than there are, and all of them for amount 0.

    Args:
        channels: Of the layer, before.
        amount: Fraction to remove, [0, 1).
        round_to: Width that the kept channels are a multiple of, at least 1.
    """
    if amount == 0:
        return channels
    multiples = int(channels * (1 - amount) / round_to + 0.5)
    return min(channels, max(1, multiples) * round_to)


@torch.enable_grad()
def prune_channels(
    module: nn.Module,
    importance: tp.importance.Importance,
    classes: int,
    input_shape: tuple[int, int, int],
    amount: float,
    round_to: int,
) -> None:
    """Remove the least important channels of every group of layers, in place.

    The classifier keeps its outputs, and the module its mode.

    Args:
        module: Maps (N, C, H, W) to logits (N, classes).
        importance: Scores the channels of a group of layers; the lowest go.
        classes: Width of the logits.
        input_shape: Channels, height and width of one image.
        amount: Fraction of the channels of each layer to remove, [0, 1).
        round_to: Width that the kept channels are a multiple of.

    Raises:
        RunError: If a layer cannot be brought to its width.
    """
    training = module.training
    module.requires_grad_(True)  # the dependencies are read off the autograd graph
    example = torch.zeros(2, *input_shape)
    graph = tp.DependencyGraph().build_dependency(module, example_inputs=(example,))
    ignored = [classifier(module, classes)]
    for group in graph.get_all_groups(ignored_layers=ignored):
        root, prune = group[0].dep.target.module, group[0].dep.handler
        channels = graph.get_out_channels(root)
        split = _split(graph, group)  # equal parts that must lose the same channels
        width = channels // split
        keep = kept_channels(width, amount, -(-round_to // split))
        scores = importance(group).view(split, width).mean(dim=0)
        lowest = torch.argsort(scores, stable=True)[: width - keep]
        removed = (lowest + width * torch.arange(split)[:, None]).flatten().tolist()
        if not removed:
            continue
        chosen = graph.get_pruning_group(root, prune, removed)
        if not graph.check_pruning_group(chosen):
            name = group[0].dep.target.name
            raise RunError(f"prune.amount={amount:g} would leave nothing of {name}; ask for less")
        chosen.prune()
    module.train(training)


def _split(graph: tp.DependencyGraph, group: tp.dependency.Group) -> int:
    """Count the equal parts that grouped convolutions and norms of a group divide channels into."""
    parts = [1]
    for dep, _ in group:
        layer = dep.target.module
        pruner = graph.get_pruner_of_module(layer)
        depthwise = isinstance(layer, nn.Conv2d) and layer.groups == layer.out_channels
        if pruner is not None and not depthwise:
            outgoing = graph.is_out_channel_pruning_fn(dep.handler)
            count = pruner.get_out_channel_groups if outgoing else pruner.get_in_channel_groups
            parts.append(count(layer))
    return max(parts)
