"""Tensors of labels: the channel that every number of another tensor comes from.

Labels that are constant along an axis are stored once there, with stride 0, so that those of a
batch of feature maps take no more memory than those of its channels.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def compact(labels: Tensor) -> Tensor:
    """Store labels that are constant along an axis once: the same shape, stride 0 there."""
    for axis, size in enumerate(labels.shape):
        if size > 1 and labels.stride(axis) != 0 and not varies(labels, axis):
            labels = labels.narrow(axis, 0, 1).expand_as(labels)
    return labels


def varies(labels: Tensor, axis: int) -> bool:
    """Check whether labels differ along an axis."""
    size = labels.shape[axis]
    if size == 1 or labels.stride(axis) == 0:
        return False
    first = labels.narrow(axis, 0, 1)
    return not torch.equal(first.expand_as(labels), labels)


def narrowed(labels: Tensor, keep: int | Sequence[int] = ()) -> Tensor:
    """Narrow axes along which labels are stored once to one index, except those to keep."""
    axes = {axis % labels.ndim for axis in ([keep] if isinstance(keep, int) else keep)}
    for axis in range(labels.ndim):
        if axis not in axes and labels.stride(axis) == 0 and labels.shape[axis] > 1:
            labels = labels.narrow(axis, 0, 1)
    return labels


def narrowed_together(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Narrow axes along which two labels of one shape are both stored once; return both flat."""
    for axis in range(one.ndim):
        if one.stride(axis) == 0 and other.stride(axis) == 0 and one.shape[axis] > 1:
            one, other = one.narrow(axis, 0, 1), other.narrow(axis, 0, 1)
    return one.flatten(), other.flatten()


def spans(shape: torch.Size, target: torch.Size) -> bool:
    """Check whether a shape can be broadcast to another."""
    if len(shape) > len(target):
        return False
    pairs = zip(reversed(shape), reversed(target), strict=False)
    return all(size in (1, other) for size, other in pairs)


def spread(parts: Sequence[Tensor], target: torch.Size) -> list[Tensor]:
    """Broadcast labels; a single channel that meets many, such as a gate, gets no label."""
    wide = [part[(None,) * (len(target) - part.ndim)] for part in parts]
    broadcast = []
    for index, part in enumerate(wide):
        others = [other for place, other in enumerate(wide) if place != index]
        axes = [axis for axis, size in enumerate(part.shape) if size == 1 != target[axis]]
        if any(varies(other, axis) for other in others for axis in axes):
            part = torch.zeros_like(part)
        broadcast.append(part.expand(target))
    return broadcast


def split_axes(before: tuple[int, ...], after: tuple[int, ...]) -> list[list[int]]:
    """Return, for each axis that a reshape splits, the axes of the result it is split into."""
    splits: list[list[int]] = []
    index = 0
    for size in before:
        axes, product = [], 1
        if size == 1:
            if index < len(after) and after[index] == 1:
                index += 1
            continue
        while index < len(after) and product < size:
            axes.append(index)
            product *= after[index]
            index += 1
        if product != size:  # axes are also joined
            return splits if math.prod(before) == math.prod(after) else []
        wide = [axis for axis in axes if after[axis] > 1]
        if len(wide) > 1:
            splits.append(wide)
    return splits


def tensors(value: Any) -> list[Tensor]:
    """Return the tensors in nested sequences and mappings."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [tensor for part in value for tensor in tensors(part)]
    return []
