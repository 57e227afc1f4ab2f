"""State of a network that is not in its state dict, and so is lost when it is saved."""

from typing import Any

import numpy as np
import torch
from torch import nn

from paredown.model.form import plain_tensors
from paredown.printable import few

SHOWN = 3  # names in a message


def differences(module: nn.Module, rebuilt: nn.Module) -> str:
    """List the state that a network lost when it was rebuilt from its state dict, in words."""
    others = dict(rebuilt.named_modules())
    names = [
        f"{path}.{name}".removeprefix(".") + f" ({kind})"
        for path, part in module.named_modules()
        if path in others
        for name, kind in _lost_state(part, others[path]).items()
    ]
    return few(names, SHOWN)


def _lost_state(part: nn.Module, rebuilt: nn.Module) -> dict[str, str]:
    """Return the kind of each attribute that differs, by name."""
    kinds = {
        name: "a buffer with persistent=False"
        for name in sorted(part._non_persistent_buffers_set)
        if not _equal(part._buffers.get(name), rebuilt._buffers.get(name))
    }
    for name, value in plain_tensors(part).items():
        if not _equal(value, vars(rebuilt).get(name)):
            kinds[name] = "a plain tensor, no buffer"
    for name, value in vars(part).items():
        other = vars(rebuilt).get(name)
        if _holds_layers(value) and not name.startswith("_"):
            kinds[name] = "layers in a plain list, no nn.ModuleList"
            continue
        if isinstance(value, np.ndarray):
            same = isinstance(other, np.ndarray) and np.array_equal(value, other)
        else:
            same = not isinstance(value, list | dict | str) or name.startswith("_")
            same = same or repr(value) == repr(other)
        if not same:
            kinds[name] = f"of type {type(value).__name__}, no buffer"
    return kinds


def _holds_layers(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return isinstance(value, list | tuple | dict) and any(
        isinstance(item, nn.Module) for item in items
    )


def _equal(value: Any, other: Any) -> bool:
    if not (torch.is_tensor(value) and torch.is_tensor(other)):
        return value is None and other is None
    return value.shape == other.shape and torch.equal(value.cpu(), other.cpu())


def norms_of_batches(module: nn.Module) -> str:
    """List the batch norms that always normalize by the statistics of the current batch."""
    names = [
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm)
        and (part.running_mean is None or not part.track_running_stats)
    ]
    return few(names, SHOWN)
