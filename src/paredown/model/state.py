"""What a network keeps beside its weights, and which of it a file cannot give back."""

from typing import TYPE_CHECKING, Any

import numpy as np

from paredown.model.form import plain_tensors

if TYPE_CHECKING:
    from torch import nn

MOST = 3  # that are named


def differences(one: "nn.Module", other: "nn.Module") -> str:
    """Name what two networks of one code and one state dict have unlike, in words.

    Args:
        one: The network.
        other: The same, built anew and given the weights of the first.
    """
    parts = dict(other.named_modules())
    names = [
        f"{path}.{name}".removeprefix(".") + f" ({kind})"
        for path, part in one.named_modules()
        if path in parts
        for name, kind in _unlike(part, parts[path]).items()
    ]
    return ", ".join(names[:MOST]) + ", …" * (len(names) > MOST)


def _unlike(part: "nn.Module", again: "nn.Module") -> dict[str, str]:
    """List what a module has unlike another, by name, with what kind of thing it is."""
    volatile = part._non_persistent_buffers_set
    found = {
        name: "a buffer with persistent=False"
        for name in sorted(volatile)
        if not _equal(part._buffers.get(name), again._buffers.get(name))
    }
    for name, value in plain_tensors(part).items():
        if not _equal(value, vars(again).get(name)):
            found[name] = "a plain tensor, no buffer"
    for name, value in vars(part).items():
        other = vars(again).get(name)
        if _holds_layers(value) and not name.startswith("_"):
            found[name] = "layers in a plain list, no nn.ModuleList"
            continue
        if isinstance(value, np.ndarray):
            same = isinstance(other, np.ndarray) and np.array_equal(value, other)
        else:
            same = not isinstance(value, list | dict | str) or name.startswith("_")
            same = same or repr(value) == repr(other)
        if not same:
            found[name] = f"of type {type(value).__name__}, no buffer"
    return found


def _holds_layers(value: Any) -> bool:
    from torch import nn

    items = value.values() if isinstance(value, dict) else value
    return isinstance(value, list | tuple | dict) and any(
        isinstance(item, nn.Module) for item in items
    )


def _equal(value: Any, other: Any) -> bool:
    import torch

    if not (torch.is_tensor(value) and torch.is_tensor(other)):
        return value is None and other is None
    return value.shape == other.shape and torch.equal(value.cpu(), other.cpu())


def norms_of_batches(module: "nn.Module") -> str:
    """Name the batch norms that keep no statistics, and take those of the batch in use, too."""
    from torch import nn

    names = [
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm)
        and (part.running_mean is None or not part.track_running_stats)
    ]
    return ", ".join(names[:MOST]) + ", …" * (len(names) > MOST)
