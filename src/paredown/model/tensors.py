"""A network's tensors by name, each once, and how they are put into a fresh network."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from paredown.errors import ConfigError


def distinct(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """List a network's tensors, each once.

    Returns:
        The tensors by name, contiguous; and for tied weights the first name by each further one.

    Raises:
        ConfigError: If its state holds anything but tensors.
    """
    first_names: dict[tuple[object, ...], str] = {}
    storages: set[int] = set()
    state: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    for name, tensor in module.state_dict().items():
        if not torch.is_tensor(tensor):
            rule = "keep its state in tensors"
            raise ConfigError(f"model must {rule}, got {name} of type {type(tensor).__name__}")
        identity = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        first = first_names.setdefault(identity, name) if tensor.data_ptr() else name
        if first != name:
            tied[name] = first
            continue
        tensor = tensor.contiguous()
        start = tensor.untyped_storage().data_ptr()
        is_view = start and start in storages  # of another tensor's memory
        state[name] = tensor.clone() if is_view else tensor
        storages.add(start)
    return state, tied


def fill(module: nn.Module, state: Mapping[str, Tensor], tied: Mapping[str, str]) -> None:
    """Put what `distinct` lists into a fresh network, in place; frozen parameters stay frozen."""
    parts = dict(module.named_modules(remove_duplicate=False))
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        path, _, leaf = name.rpartition(".")
        if leaf in parts[path]._parameters:
            fresh = parts[path]._parameters[leaf]
            trains = tensor.is_floating_point() or tensor.is_complex()
            trains = trains and (fresh is None or fresh.requires_grad)
            tensor = nn.Parameter(tensor, requires_grad=trains)
        setattr(parts[path], leaf, tensor)
        tensors[name] = tensor
    for name, first in tied.items():
        path, _, leaf = name.rpartition(".")
        setattr(parts[path], leaf, tensors[first])
