"""Weights that a network starts from: published ones, or a file of the user's; never code."""

import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paredown.errors import ConfigError, require
from paredown.model.checkpoint import as_float32, opened, without_prefix, without_settings
from paredown.model.form import not_finite, settle
from paredown.store.hashing import sha256_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from paredown.model import ModelSource

FILES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
TOLD = 4  # keys that are named of each kind

State = Mapping[str, "Tensor"]

log = logging.getLogger(__name__)


def is_file(weights: str) -> bool:
    """Tell whether weights are a file of the user's, by its ending; others are published."""
    return weights.endswith(FILES)


def fingerprint(weights: str | None) -> dict[str, str]:
    """Say which weights they are: a file by its content, wherever it lies."""
    if weights is None:
        return {}
    if is_file(weights):
        return {"weights": sha256_of(_there(weights))}
    return {"published": weights}


def start(source: "ModelSource", classes: int, input_shape: tuple[int, int, int]) -> "nn.Module":
    """Build a network with the weights that it starts from; fresh ones where it names none.

    A layer of another number of classes keeps its fresh weights.

    Raises:
        ConfigError: If the weights are not there, hold code or are another network's.
    """
    module = source.build(classes, input_shape)
    if source.weights is not None:
        _start_from(source.weights, module, source, classes)
    settle(module, input_shape)
    return module


def _start_from(weights: str, module: "nn.Module", source: "ModelSource", classes: int) -> None:
    """Put the weights that a source names into the network that it built, in place."""
    own = module.state_dict()
    state = _state(weights, source, own)
    heads = _heads(own, state, classes)
    _require_same(source, own, {**state, **{name: own[name] for name in heads}})
    if heads:
        told = ", ".join(sorted(heads))
        log.info("%s: %s stay fresh: the weights have other classes", source.name, told)
    state = as_float32({name: state[name] for name in state if name not in heads}, own, weights)
    module.load_state_dict({**own, **state})
    broken = not_finite(module)
    if broken is not None:
        raise ConfigError(f"weights must be finite, got {weights} with {broken}")


def fresh_heads(source: "ModelSource", classes: int, input_shape: tuple[int, int, int]) -> set[str]:
    """Name the tensors that stay fresh since the weights that a source names have other classes."""
    from paredown.model import outline

    assert source.weights is not None
    own = outline(source, classes, input_shape).state_dict()
    return _heads(own, _state(source.weights, source, own), classes)


def _state(weights: str, source: "ModelSource", own: State) -> State:
    """Read the weights that a source names, by the names that its network has for them."""
    state: State = read(_there(weights)) if is_file(weights) else source.published(weights)
    return without_prefix(state, own.keys())


def _heads(own: State, state: State, classes: int) -> set[str]:
    return {
        name
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
        and own[name].shape[1:] == state[name].shape[1:]
        and own[name].shape[0] == classes
    }


def _require_same(source: "ModelSource", own: State, state: State) -> None:
    """Raise ConfigError, listing the keys, unless both name the same tensors in the same shapes.

    Args:
        source: Of the network.
        own: The network's.
        state: What was read; heads of other classes count as the network's.
    """
    counters = {name for name in own if name.endswith("num_batches_tracked")}  # old files lack them
    missing = sorted(own.keys() - counters - state.keys())
    unknown = sorted(state.keys() - own.keys())
    other = sorted(
        f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
    )
    kinds = (("missing", missing), ("unknown", unknown), ("of another shape", other))
    told = [
        f"{len(names)} {what} ({', '.join(names[:TOLD])}{', …' * (len(names) > TOLD)})"
        for what, names in kinds
        if names
    ]
    if told:
        raise ConfigError(
            f"weights must be those of {source.name}, got {source.weights} with keys "
            + ", ".join(told)
        )


def _there(weights: str) -> Path:
    file = Path(weights).expanduser()
    require(file.is_file(), "weights", "be a file or the name of published weights", weights)
    return file


def read(file: Path) -> dict[str, "Tensor"]:
    """Read tensors by name; a pickle that holds anything else is refused, and nothing of it runs.

    Raises:
        ConfigError: If the file is damaged, or holds code.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            found: Any = load_file(file)
        else:
            with without_settings(file):
                found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        told = f"the code {code.group(1)}" if code else "what is no tensor"
        raise ConfigError(
            f"weights must hold tensors alone, got {file} with {told}; "
            "save its state_dict(), best as .safetensors"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        told = " ".join(str(error).split())[:200]
        raise ConfigError(f"weights must be whole, got {file}: {told}") from error
    found = opened(found, file.name)
    tensors = isinstance(found, Mapping) and found and all(map(torch.is_tensor, found.values()))
    require(bool(tensors), "weights", "hold tensors by name", str(file), "save its state_dict()")
    return {str(name): tensor for name, tensor in found.items()}
