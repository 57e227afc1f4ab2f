"""Networks: built by name, saved and rebuilt in any pruned shape without pickle."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from paredown.describe import describe, sha256_of
from paredown.errors import ConfigError
from paredown.foreign import ARCHITECTURE, rebuild, require_same_model
from paredown.trust import allow, code_in

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS = "model.safetensors"


class ModelSource(Protocol):
    """A node of conf/model: builds a network for any number of classes."""

    @property
    def name(self) -> str:
        """As tables and runs name the network."""
        ...

    @property
    def weights(self) -> str | None:
        """What it starts from: published weights by name, or a file; None: fresh ones."""
        ...

    @property
    def fingerprint(self) -> dict[str, str]:
        """Say by content what, besides its other fields, decides its weights and its answers."""
        ...

    def build(self, classes: int, input_shape: tuple[int, int, int]) -> "nn.Module":
        """Build it with fresh weights, drawn from torch's global generator.

        Args:
            classes: Width of the logits.
            input_shape: Channels, height and width of one image.
        """
        ...

    def published(self, weights: str) -> "dict[str, Tensor]":
        """Find published weights, fetched if they are not here.

        Raises:
            ConfigError: If there are none of that name, or no network.
        """
        ...


def outline(source: ModelSource, classes: int, input_shape: tuple[int, int, int]) -> "nn.Module":
    """Build a network for its shapes alone: without numbers, in no time, where its code can."""
    return without_numbers(lambda: source.build(classes, input_shape))


def without_numbers(build: "Callable[[], nn.Module]") -> "nn.Module":
    """Call what builds a network on the meta device, where its code can."""
    import torch

    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError):  # RegNet's reads tensors of its own
        return build()


def classifier(module: "nn.Module", classes: int) -> "nn.Module":
    """Find the layer that makes the logits: the last Linear or convolution as wide as the classes.

    Raises:
        ConfigError: If there is none.
    """
    from torch import nn

    for layer in reversed(list(module.modules())):
        if isinstance(layer, nn.Linear) and layer.out_features == classes:
            return layer
        if isinstance(layer, nn.Conv2d) and layer.out_channels == classes:
            return layer
    raise ConfigError(f"model must end in a layer with {classes} outputs, one a class; it has none")


def layers(module: "nn.Module") -> list[str]:
    """List the layers that hold weights and can become integer, by name: convolutions, Linears."""
    from torch import nn

    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    return [name for name, part in module.named_modules() if isinstance(part, kinds)]


def save(
    module: "nn.Module",
    source: ModelSource,
    classes: int,
    input_shape: tuple[int, int, int],
    folder: Path,
) -> None:
    """Write `model.safetensors` and `architecture.json`: enough to rebuild any pruned shape."""
    from safetensors.torch import save_file

    from paredown.model.attention import HeadAttention

    allow(*code_in(describe(source)))  # it is here already
    fresh_network = source.build(classes, input_shape)
    attention = [name for name, part in module.named_modules() if isinstance(part, HeadAttention)]
    HeadAttention.put_into(fresh_network, attention)
    fresh = dict(fresh_network.named_modules())
    shapes = {
        name: changed
        for name, part in module.named_modules()
        if (changed := _whole_numbers(part).items() - _whole_numbers(fresh[name]).items())
    }
    state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    architecture = {
        "weights": sha256_of(folder / WEIGHTS),
        "model": describe(source),
        "classes": classes,
        "input_shape": list(input_shape),
        **({"attention": attention} if attention else {}),
        "changed": {name: dict(sorted(changed)) for name, changed in shapes.items()},
    }
    (folder / ARCHITECTURE).write_text(json.dumps(architecture, indent=1) + "\n")


def load(folder: Path, expected: ModelSource | None = None) -> tuple["nn.Module", ModelSource]:
    """Rebuild a network in eval mode, bit-equal to the one that was saved.

    Args:
        folder: As `save` wrote it.
        expected: What builds the network; None: what the folder names, if that is Paredown's own
            or the user has named it.

    Raises:
        ConfigError: If the folder names other code.
        ValueError: If weights and architecture do not belong together.
    """
    import torch
    from safetensors.torch import load_file
    from torch import nn

    from paredown.model.attention import HeadAttention

    architecture = json.loads((folder / ARCHITECTURE).read_text())
    if sha256_of(folder / WEIGHTS) != architecture["weights"]:
        raise ValueError(f"{folder}: the weights do not belong to the architecture beside them")
    if expected is not None:
        require_same_model(folder, expected)
    where = f"{ARCHITECTURE} in {folder}"
    source: ModelSource = expected or rebuild(architecture["model"], "model", where)
    module = source.build(architecture["classes"], tuple(architecture["input_shape"]))
    HeadAttention.put_into(module, architecture.get("attention", ()))
    parts = dict(module.named_modules())
    for name, changed in architecture["changed"].items():
        for attribute, value in changed.items():
            if not all(type(each) is int for each in _listed(value)):
                raise ValueError(f"{folder}: {name}.{attribute} must be whole numbers, got {value}")
            setattr(parts[name], attribute, tuple(value) if isinstance(value, list) else value)
    state = load_file(folder / WEIGHTS)
    for name, tensor in state.items():
        path, _, leaf = name.rpartition(".")
        is_weight = leaf in parts[path]._parameters
        setattr(parts[path], leaf, nn.Parameter(tensor) if is_weight else tensor)
    return module.eval().to(memory_format=torch.channels_last), source


def _listed(value: object) -> "list[object]":
    return value if isinstance(value, list) else [value]


def _whole_numbers(part: "nn.Module") -> dict[str, int | tuple[int, ...]]:
    """List the attributes that give a module its shape: channels, features, groups, heads."""
    return {
        name: value
        for name, value in vars(part).items()
        if type(value) is int
        or (isinstance(value, tuple) and value and all(type(number) is int for number in value))
    }
