"""Rules for operations that are no layer; see `trace.py`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from paredown.prune.label_store import LabelStore
from paredown.prune.labels import (
    narrowed,
    narrowed_together,
    spans,
    split_axes,
    spread,
    tensors,
    varies,
)
from paredown.prune.units import NOTHING

aten = torch.ops.aten
MOVES = {
    *(aten.view, aten._unsafe_view, aten.permute, aten.transpose, aten.t, aten.slice, aten.select),
    *(aten.flip, aten.roll, aten.expand, aten.repeat, aten.unsqueeze, aten.squeeze, aten.clone),
    *(aten.detach, aten.alias, aten.pixel_shuffle, aten.pixel_unshuffle, aten.channel_shuffle),
    *(aten.native_channel_shuffle, aten.index_select, aten.unfold, aten.im2col, aten.as_strided),
    *(aten.unbind, aten.split, aten.split_with_sizes, aten.cat, aten.stack, aten.lift_fresh_copy),
    *(aten.view_copy, aten.reshape, aten.diagonal, aten.narrow, aten.tile, aten.rot90),
    *(aten.reflection_pad1d, aten.reflection_pad2d, aten.replication_pad2d, aten.movedim),
    *(aten.repeat_interleave, aten.index),
}
PRODUCTS = {aten.mm, aten.bmm, aten.addmm, aten.baddbmm}
LIKE = ("zeros", "ones", "empty", "full", "rand", "arange", "bernoulli", "new_")  # read no number


Rule = Callable[[LabelStore, Any, Any, Any, Any], None]
"""(store, operation, output, arguments, keyword arguments)"""


def rule_of(func: Any, output: Any, args: Any) -> Rule | None:
    """Return the rule of an operation; None if it reads no numbers."""
    packet, name = func.overloadpacket, func._schema.name.removeprefix("aten::")
    if not tensors(output) or name.startswith(LIKE):
        return None
    if packet in RULES:
        return RULES[packet]
    if packet in MOVES:
        return moved
    if "pool" in name or "upsample" in name:
        return pooled
    return reduced if _reduces(func, output, args) else combined


def moved(store: LabelStore, func: Any, output: Any, args: Any, kwargs: Any) -> None:
    """Apply to the labels the operation that moved the numbers."""

    def labelled(value: Any) -> Any:
        if isinstance(value, Tensor):
            return store.of(value).contiguous() if value.is_floating_point() else value
        if isinstance(value, (list, tuple)):
            return type(value)(map(labelled, value))
        return value

    try:
        labels = func(*map(labelled, args), **{k: labelled(v) for k, v in kwargs.items()})
    except (RuntimeError, NotImplementedError):  # an operation that has no integers
        return
    for tensor, label in zip(tensors(output), tensors(labels), strict=False):
        store.put(tensor, label)


def split(store: LabelStore, func: Any, output: Any, args: Any, kwargs: Any) -> None:
    """Label the pieces of a tensor; equal pieces lose the same channels each."""
    moved(store, func, output, args, kwargs)
    pieces = tensors(output)
    labels = [store.of(piece) for piece in pieces]
    if func.overloadpacket is aten.unbind or len({label.shape for label in labels}) > 1:
        return
    axis = args[2] if len(args) > 2 else kwargs.get("dim", 0)
    if varies(store.of(args[0]), axis):
        for label in labels[1:]:
            store.units.merge(narrowed(labels[0]).flatten(), narrowed(label).flatten())


def viewed(store: LabelStore, func: Any, output: Tensor, args: Any, kwargs: Any) -> None:
    """Label a reshape; an axis that it splits into factors can only lose whole rows of them."""
    moved(store, func, output, args, kwargs)
    for axes in split_axes(tuple(args[0].shape), tuple(output.shape)):
        labels = narrowed(store.of(output), keep=axes)
        if len([axis for axis in axes if varies(labels, axis)]) < 2:
            continue
        fixed = axes[:-1] if store.couple == "leading" else axes[1:]
        first = labels
        for axis in fixed:
            first = first.narrow(axis, 0, 1)
        store.units.merge(first, labels)


def padded(store: LabelStore, func: Any, output: Tensor, args: Any, kwargs: Any) -> None:
    """Label padding with a constant: the new numbers of a channel axis are fixed."""
    labels = store.of(args[0])
    for index, count in enumerate(args[1]):
        axis = labels.ndim - 1 - index // 2
        if not varies(labels, axis):
            size = labels.shape[axis] + count
            labels = labels.narrow(axis, 0, 1).expand(
                *labels.shape[:axis], size, *labels.shape[axis + 1 :]
            )
            continue
        if count < 0:
            start = -count if index % 2 == 0 else 0
            labels = labels.narrow(axis, start, labels.shape[axis] + count)
        elif count:
            zeros = store.units.new(1)
            store.units.fix(zeros, "they are padded with zeros to a fixed place")
            shape = [*labels.shape[:axis], count, *labels.shape[axis + 1 :]]
            extra = zeros.view([1] * labels.ndim).expand(shape)
            labels = torch.cat([extra, labels] if index % 2 == 0 else [labels, extra], axis)
    store.put(output, labels)


def multiplied(store: LabelStore, func: Any, output: Tensor, args: Any, kwargs: Any) -> None:
    """Label a product of two activations; the axis that it sums over is merged."""
    left, right = args[-2:] if len(args) > 2 else args[:2]
    one, other = store.of(left), store.of(right)
    if varies(one, -1) and varies(one, -2):
        one = _merged(store, one, -1)
    if varies(other, -2) and varies(other, -1):
        other = _merged(store, other, -2)
    if varies(one, -1) or varies(other, -2):
        inner, own = one[..., :1, :].mT, other[..., :, :1]
        store.units.merge(inner.flatten(), own.flatten())
    rows = one[..., :, :1].expand(output.shape)
    columns = other[..., :1, :].expand(output.shape)
    if varies(one, -2) and varies(other, -1):
        store.units.merge(*narrowed_together(rows, columns))
        store.put(output, torch.where(rows == NOTHING, columns, rows))
    elif varies(other, -1):
        store.put(output, columns)
    elif not varies(one, -1):  # else those were summed over
        store.put(output, rows)


def _merged(store: LabelStore, labels: Tensor, axis: int) -> Tensor:
    short = narrowed(labels, keep=axis)
    first = short.max(dim=axis, keepdim=True).values
    store.units.merge(first, short)
    return first.expand_as(labels)


def reduced(store: LabelStore, func: Any, output: Any, args: Any, kwargs: Any) -> None:
    """Label sums, means and the like; a channel axis that is reduced loses its labels."""
    labels, (target, *_) = store.of(args[0]), tensors(output)
    names = [argument.name for argument in func._schema.arguments]
    named = {**dict(zip(names, args, strict=False)), **kwargs}
    dims = named.get("dim")
    dims = range(labels.ndim) if dims is None or dims == [] else dims
    dims = {dims % labels.ndim} if isinstance(dims, int) else {d % labels.ndim for d in dims}
    others = any(varies(labels, axis) for axis in range(labels.ndim) if axis not in dims)
    for axis in sorted(dims):
        if varies(labels, axis):
            labels = _merged(store, labels, axis) if others else torch.zeros_like(labels)
    for axis in sorted(dims, reverse=True):
        if target.ndim == labels.ndim and named.get("keepdim"):
            labels = labels.narrow(axis, 0, 1)
        else:
            labels = labels.select(axis, 0)
    for tensor in tensors(output):
        store.put(tensor, labels)


def pooled(store: LabelStore, func: Any, output: Any, args: Any, kwargs: Any) -> None:
    """Label operations within each channel: pooling, interpolation."""
    (target, *_), labels = tensors(output), store.of(args[0])
    if target.ndim == labels.ndim:
        axes = [axis for axis in range(target.ndim) if target.shape[axis] != labels.shape[axis]]
        for axis in axes:
            labels = labels.narrow(axis, 0, 1)
        for tensor in tensors(output):
            store.put(tensor, labels.expand(target.shape))


def combined(store: LabelStore, func: Any, output: Any, args: Any, kwargs: Any) -> None:
    """Label elementwise operations; the channels at one position are merged."""
    for target in tensors(output)[:1]:
        inputs = [tensor for tensor in tensors((args, kwargs)) if tensor.is_floating_point()]
        fitting = [store.of(tensor) for tensor in inputs if spans(tensor.shape, target.shape)]
        if not fitting:
            pooled(store, func, output, args, kwargs)
            continue
        parts = spread(fitting, target.shape)
        labels = parts[0]
        for part in parts[1:]:
            one, other = narrowed_together(labels, part)
            store.units.merge(one, other)
            labels = torch.where(labels == NOTHING, part, labels)
        store.put(target, labels)


def gated(store: LabelStore, func: Any, output: Tensor, args: Any, kwargs: Any) -> None:
    """Label one half gated by the other: both lose the same channels."""
    labels, axis = store.of(args[0]), args[1] if len(args) > 1 else -1
    first, second = labels.chunk(2, axis)
    store.units.merge(*narrowed_together(first, second))
    store.put(output, first)


def _reduces(func: Any, output: Any, args: Any) -> bool:
    """Check whether an operation reduces axes."""
    names = [argument.name for argument in func._schema.arguments]
    first = args[0] if args else None
    if not isinstance(first, Tensor) or not first.ndim:
        return False
    target = tensors(output)[0]
    return target.shape != first.shape and ("keepdim" in names or target.ndim == 0)


RULES: dict[Any, Rule] = {
    **dict.fromkeys((aten.split, aten.split_with_sizes, aten.unbind), split),
    **dict.fromkeys((aten.view, aten._unsafe_view, aten.reshape, aten.view_copy), viewed),
    aten.constant_pad_nd: padded,
    aten.glu: gated,
    **dict.fromkeys(PRODUCTS, multiplied),
}
