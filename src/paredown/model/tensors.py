"""The tensors of a network by name, each once, and how they are put into a fresh one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from paredown.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn


def distinct(module: "nn.Module") -> "tuple[dict[str, Tensor], dict[str, str]]":
    """List a network's tensors, each once.

    Returns:
        The tensors by name, contiguous; and of those that have further names, as tied weights
        have, the first name by each other one.

    Raises:
        ConfigError: If its state holds what is no tensor.
    """
    import torch

    first_names: dict[tuple[object, ...], str] = {}
    storages: set[int] = set()
    state: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    for name, tensor in module.state_dict().items():
        if not torch.is_tensor(tensor):
            rule = "keep its state in tensors"
            raise ConfigError(f"model must {rule}, got {name} of type {type(tensor).__name__}")
        where = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        first = first_names.setdefault(where, name) if tensor.data_ptr() else name
        if first != name:
            tied[name] = first
            continue
        tensor = tensor.contiguous()
        start = tensor.untyped_storage().data_ptr()
        state[name] = tensor.clone() if start and start in storages else tensor  # a part of another
        storages.add(start)
    return state, tied


def fill(module: "nn.Module", state: "Mapping[str, Tensor]", tied: Mapping[str, str]) -> None:
    """Put tensors of any shape into a network, in place.

    A parameter that its code froze stays frozen.

    Args:
        module: Freshly built.
        state: As `distinct` lists them.
        tied: First names by further ones.
    """
    from torch import nn

    parts = dict(module.named_modules(remove_duplicate=False))
    placed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        path, _, leaf = name.rpartition(".")
        if leaf in parts[path]._parameters:
            before = parts[path]._parameters[leaf]
            trains = tensor.is_floating_point() or tensor.is_complex()
            trains = trains and (before is None or before.requires_grad)
            tensor = nn.Parameter(tensor, requires_grad=trains)
        setattr(parts[path], leaf, tensor)
        placed[name] = tensor
    for name, first in tied.items():
        path, _, leaf = name.rpartition(".")
        setattr(parts[path], leaf, placed[first])
