"""Strided convolutions of 1x1 maps, in float32 where a training runs in bfloat16.

Their kernels meet padding alone at some positions, whose gradients are exactly zero. torch 2.14's
bfloat16 convolutions on CPUs (oneDNN) leave these as the memory was, as in the last layers of a
ResNet for images of 16 pixels: some trainings then ended in nan, others in other bits than the run
before.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd


@contextmanager
def small_maps_in_float32(module: nn.Module) -> Iterator[None]:
    """Pause CPU autocast while a network's strided convolutions compute on maps of 1x1."""
    paused: set[nn.Module] = set()

    def enter(conv: _ConvNd, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        images, name = (*args, *kwargs.values())[0], next(iter(kwargs), "")
        is_batch = images.ndim == 2 + len(conv.kernel_size)
        if not (torch.is_autocast_enabled("cpu") and is_batch and set(images.shape[2:]) == {1}):
            return None
        paused.add(conv)
        torch.set_autocast_enabled("cpu", False)
        if args:
            return (images.float(), *args[1:]), kwargs
        return args, {**kwargs, name: images.float()}

    def leave(conv: nn.Module, *_: Any) -> None:
        if conv in paused:
            paused.remove(conv)
            torch.set_autocast_enabled("cpu", True)

    with ExitStack() as hooks:
        for part in module.modules():
            if isinstance(part, _ConvNd) and max(part.stride) > 1:
                hooks.enter_context(part.register_forward_pre_hook(enter, with_kwargs=True))
                hooks.enter_context(part.register_forward_hook(leave, always_call=True))
        yield
