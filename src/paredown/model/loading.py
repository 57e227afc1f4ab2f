"""Networks with the weights that they start from: published ones, or a file's; never code."""

import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from paredown.errors import ConfigError, require
from paredown.model import ModelSource, build_meta
from paredown.model.checkpoint import State, as_float32, unnested, without_prefix, without_settings
from paredown.model.form import not_finite, settle
from paredown.model.weights import existing, is_file
from paredown.printable import few, one_line

SHOWN = 4  # keys of each kind in a message

log = logging.getLogger(__name__)


def build_with_weights(
    source: ModelSource, classes: int, input_shape: tuple[int, int, int]
) -> nn.Module:
    """Build a network with the weights that it starts from; fresh ones where it names none.

    A layer of another number of classes keeps its fresh weights.

    Raises:
        ConfigError: If the weights are missing, hold code or are another network's.
    """
    module = source.build(classes, input_shape)
    if source.weights is not None:
        _load_into(module, source, source.weights, classes)
    settle(module, input_shape)
    return module


def _load_into(module: nn.Module, source: ModelSource, weights: str, classes: int) -> None:
    """Load the weights that a source names into the network that it built, in place."""
    own = module.state_dict()
    state = _read_for(source, weights, own)
    heads = _heads(own, state, classes)
    _require_same(source, own, {**state, **{name: own[name] for name in heads}})
    if heads:
        names = ", ".join(sorted(heads))
        log.info("%s: %s stay fresh: the weights have other classes", source.name, names)
    state = as_float32({name: state[name] for name in state if name not in heads}, own, weights)
    module.load_state_dict({**own, **state})
    broken = not_finite(module)
    if broken is not None:
        raise ConfigError(f"weights must be finite, got {weights} with {broken}")


def fresh_heads(source: ModelSource, classes: int, input_shape: tuple[int, int, int]) -> set[str]:
    """List the tensors that stay fresh because a source's weights have other classes."""
    assert source.weights is not None
    own = build_meta(source, classes, input_shape).state_dict()
    return _heads(own, _read_for(source, source.weights, own), classes)


def _read_for(source: ModelSource, weights: str, own: State) -> State:
    """Read the weights that a source names, under the names of its network's tensors."""
    state = read(existing(weights)) if is_file(weights) else source.published(weights)
    return without_prefix(state, own.keys())


def _heads(own: State, state: State, classes: int) -> set[str]:
    return {
        name
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
        and own[name].shape[1:] == state[name].shape[1:]
        and own[name].shape[0] == classes
    }


def _require_same(source: ModelSource, own: State, state: State) -> None:
    """Raise ConfigError, listing the keys, unless both have the same tensors in the same shapes."""
    counters = {name for name in own if name.endswith("num_batches_tracked")}  # old files lack them
    other_shapes = (
        f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
    )
    kinds = {
        "missing": own.keys() - counters - state.keys(),
        "unknown": state.keys() - own.keys(),
        "of another shape": set(other_shapes),
    }
    faults = [
        f"{len(names)} {kind} ({few(sorted(names), SHOWN)})"
        for kind, names in kinds.items()
        if names
    ]
    if faults:
        raise ConfigError(
            f"weights must be those of {source.name}, got {source.weights} with keys "
            + ", ".join(faults)
        )


def read(file: Path) -> dict[str, Tensor]:
    """Read tensors by name; a pickle that holds anything else is refused, and nothing of it runs.

    Raises:
        ConfigError: If the file is damaged, or holds code.
    """
    try:
        if file.suffix == ".safetensors":
            content: Any = load_file(file)
        else:
            with without_settings(file):
                content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        got = f"the code {code.group(1)}" if code else "what is no tensor"
        raise ConfigError(
            f"weights must hold tensors alone, got {file} with {got}; "
            "save its state_dict(), best as .safetensors"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ConfigError(
            f"weights must be undamaged, got {file}: {one_line(str(error))[:200]}"
        ) from error
    content = unnested(content, file.name)
    tensors = (
        isinstance(content, Mapping) and content and all(map(torch.is_tensor, content.values()))
    )
    require(bool(tensors), "weights", "hold tensors by name", str(file), "save its state_dict()")
    return {str(name): tensor for name, tensor in content.items()}
