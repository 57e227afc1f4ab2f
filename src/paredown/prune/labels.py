"""Tensors of labels: which channel every number of another tensor comes from.

Labels that are the same along an axis are held once there, with stride 0, so that those of a batch
of feature maps cost no more than those of its channels.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def compact(labels: Tensor) -> Tensor:
    """Hold labels that are the same along an axis once, (the same shape, stride 0 there)."""
    for axis, size in enumerate(labels.shape):
        if size > 1 and labels.stride(axis) != 0:
            first = labels.narrow(axis, 0, 1)
            if torch.equal(first.expand_as(labels), labels):
                labels = first.expand_as(labels)
    return labels


def varies(labels: Tensor, axis: int) -> bool:
    """Check whether labels differ along an axis."""
    size = labels.shape[axis]
    if size == 1 or labels.stride(axis) == 0:
        return False
    first = labels.narrow(axis, 0, 1)
    return not torch.equal(first.expand_as(labels), labels)


def narrowed(labels: Tensor, keep: int | Sequence[int] = ()) -> Tensor:
    """Cut axes along which labels are held once to one index, besides those to keep."""
    axes = {axis % labels.ndim for axis in ([keep] if isinstance(keep, int) else keep)}
    for axis in range(labels.ndim):
        if axis not in axes and labels.stride(axis) == 0 and labels.shape[axis] > 1:
            labels = labels.narrow(axis, 0, 1)
    return labels


def narrowed_together(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Cut axes along which two labels of one shape are both held once; both flat."""
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
    """Broadcast labels; one channel that meets many, as a gate does, hangs together with none."""
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
    """List the axes of a reshape's result that come out of one axis, where that is split."""
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
        if product != size:  # axes are joined, too
            return splits if math.prod(before) == math.prod(after) else []
        wide = [axis for axis in axes if after[axis] > 1]
        if len(wide) > 1:
            splits.append(wide)
    return splits


def tensors(value: Any) -> list[Tensor]:
    """List the tensors in nested sequences and mappings."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [tensor for each in value for tensor in tensors(each)]
    return []
