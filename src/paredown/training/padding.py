"""Gradients of kernel positions that meet padding alone.

They are exactly zero. torch 2.14's bfloat16 convolutions on CPUs (oneDNN) leave them as the memory
was where a strided convolution gets maps of 1x1, as the last layers of a ResNet do for images of 16
pixels: some trainings then ended in nan, others in other bits than the run before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

Masks = dict[Tensor, Tensor]
"""Weight -> True where its kernel meets padding alone."""


@contextmanager
def padded_positions(module: nn.Module) -> Iterator[Masks]:
    """Find such positions of a network's kernels as it runs; see `zero_gradients`."""
    masks: Masks = {}
    elsewhere: set[Tensor] = set()  # weights that meet larger maps, too: no position of theirs

    def note(conv: _ConvNd, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        images, weight = [*args, *kwargs.values()][0], _trained(conv)
        if weight is None or weight in elsewhere:
            return
        if images.ndim != conv.weight.ndim or set(images.shape[2:]) != {1}:
            elsewhere.add(weight)
            masks.pop(weight, None)
        elif weight not in masks:
            masks[weight] = _mask(conv, output)

    strided = [
        part for part in module.modules() if isinstance(part, _ConvNd) and max(part.stride) > 1
    ]
    handles = [conv.register_forward_hook(note, with_kwargs=True) for conv in strided]
    try:
        yield masks
    finally:
        for handle in handles:
            handle.remove()


def zero_gradients(masks: Masks) -> None:
    """Set the gradients of these positions to zero, after a backward pass."""
    for weight, mask in masks.items():
        if weight.grad is not None:
            weight.grad.masked_fill_(mask, 0)


def _trained(conv: _ConvNd) -> nn.Parameter | None:
    """Return the parameter that holds a kernel; None if it is made of several."""
    weight: Any = conv.weight
    if parametrize.is_parametrized(conv, "weight"):
        weight = getattr(conv.parametrizations.weight, "original", None)  # type: ignore[union-attr]
    return weight if isinstance(weight, nn.Parameter) else None


def _mask(conv: _ConvNd, output: Tensor) -> Tensor:
    """Return which positions of a kernel meet padding alone, on inputs of 1x1.

    Position k of an axis meets the input where an output o has o * stride + k * dilation = padding;
    that of a transposed convolution meets output k * dilation - padding.
    """
    axes = []
    for axis, kernel in enumerate(conv.kernel_size):
        place = torch.arange(kernel) * conv.dilation[axis] - _padding(conv, axis)
        if isinstance(conv, _ConvTransposeNd):
            met = (place >= 0) & (place < output.shape[2 + axis])
        else:
            starts = torch.arange(output.shape[2 + axis]) * conv.stride[axis]
            met = (place[:, None] + starts == 0).any(dim=1)
        axes.append(met)
    met = axes[0]
    for other in axes[1:]:
        met = met[..., None] & other
    return ~met.to(conv.weight.device)


def _padding(conv: _ConvNd, axis: int) -> int:
    """Return the padding before an axis; a strided convolution has no "same"."""
    return 0 if isinstance(conv.padding, str) else conv.padding[axis]
