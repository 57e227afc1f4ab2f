"""How many channels stay.

Torch-Pruning's own pruner rounds the kept channels down, and skips a layer in silence where that
gives none.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor

from paredown.prune.groups import Group

Scores = Mapping[str, Tensor]
"""What every unit of a group is worth, by the group's name."""
Widths = Mapping[str, int]
"""Channels by the group's name."""


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


def widths(
    groups: Sequence[Group],
    scores: Scores,
    amount: float,
    round_to: int,
    scope: str,
    whole: Widths,
) -> dict[str, int]:
    """Decide how many units of each group stay.

    The lowest of all that are ranked together go; then each group's width is rounded to the
    nearest multiple. With the same scores more amount never leaves a group more.

    Source: isomorphic: Fang et al., Isomorphic Pruning for Vision Models, 2024, arXiv 2407.04616.

    Args:
        groups: As they are now.
        scores: Of their units.
        amount: Fraction of the channels of the whole network to remove, [0, 1).
        round_to: As in `kept_channels`.
        scope: What is ranked together; see `channels.Pruning`.
        whole: Channels of each group before anything was pruned.
    """
    keep: dict[str, int] = {}
    for together in _ranked_together(groups, scope):
        amounts = _amounts(together, scores, amount, whole)
        for group, own in zip(together, amounts, strict=True):
            before = whole[group.name] // group.width
            step = 1 if group.attention else -(-round_to // group.width)
            keep[group.name] = min(group.units, kept_channels(before, own, step))
    return keep


def _ranked_together(groups: Sequence[Group], scope: str) -> list[list[Group]]:
    if scope == "local":
        return [[group] for group in groups]
    if scope == "global":
        return [list(groups)]
    ordered = sorted(groups, key=lambda group: group.kind)
    return [list(alike) for _, alike in groupby(ordered, key=lambda group: group.kind)]


def _amounts(groups: Sequence[Group], scores: Scores, amount: float, whole: Widths) -> list[float]:
    """Give the fraction of each group's channels that the ranking removes."""
    if len(groups) == 1 or amount == 0:
        return [amount] * len(groups)
    left = torch.cat([scores[group.name] for group in groups])
    weight = torch.cat([torch.full((group.units,), group.width) for group in groups])
    order = left.argsort(descending=True, stable=True)
    room = (1 - amount) * sum(whole[group.name] for group in groups)
    stays = torch.zeros(len(left), dtype=torch.bool)
    stays[order] = weight[order].cumsum(0) <= room
    parts = torch.split(stays, [group.units for group in groups])
    counts = [int(part.sum()) for part in parts]
    pairs = zip(groups, counts, strict=True)
    return [1 - count * group.width / whole[group.name] for group, count in pairs]
