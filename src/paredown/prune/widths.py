"""The widths after pruning, rounded to the nearest multiple."""

from collections.abc import Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor

from paredown.prune.groups import Group

Scores = Mapping[str, Tensor]
"""A score per unit, (units,), by the group's name."""
Widths = Mapping[str, int]
"""Channels by the group's name."""


def kept_channels(channels: int, amount: float, round_to: int) -> int:
    """Return the multiple of `round_to` nearest to the requested channels.

    At least one multiple, at most `channels`, and all of them for amount 0 of [0, 1).
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
    original: Widths,
) -> dict[str, int]:
    """Return how many units of each group stay.

    The lowest of all units that are ranked together go; then each group's width is rounded to the
    nearest multiple. With the same scores, a larger amount never widens a group.

    Source: isomorphic: Fang et al., Isomorphic Pruning for Vision Models, 2024, arXiv 2407.04616.
    """
    units: dict[str, int] = {}
    for together in _ranked_together(groups, scope):
        amounts = _amounts(together, scores, amount, original)
        for group, part in zip(together, amounts, strict=True):
            before = original[group.name] // group.width
            step = 1 if group.attention else -(-round_to // group.width)
            units[group.name] = min(group.units, kept_channels(before, part, step))
    return units


def _ranked_together(groups: Sequence[Group], scope: str) -> list[list[Group]]:
    if scope == "local":
        return [[group] for group in groups]
    if scope == "global":
        return [list(groups)]
    ordered = sorted(groups, key=lambda group: group.kind)
    return [list(alike) for _, alike in groupby(ordered, key=lambda group: group.kind)]


def _amounts(
    groups: Sequence[Group], scores: Scores, amount: float, original: Widths
) -> list[float]:
    """Return the fraction of each group's channels that the ranking removes."""
    if len(groups) == 1 or amount == 0:
        return [amount] * len(groups)
    together = torch.cat([scores[group.name] for group in groups])
    weight = torch.cat([torch.full((group.units,), group.width) for group in groups])
    order = together.argsort(descending=True, stable=True)
    room = (1 - amount) * sum(original[group.name] for group in groups)
    stays = torch.zeros(len(together), dtype=torch.bool)
    stays[order] = weight[order].cumsum(0) <= room
    parts = torch.split(stays, [group.units for group in groups])
    counts = [int(part.sum()) for part in parts]
    pairs = zip(groups, counts, strict=True)
    return [1 - count * group.width / original[group.name] for group, count in pairs]
