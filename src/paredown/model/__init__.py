"""Networks: built by name, saved and rebuilt in any pruned shape without pickle."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from paredown.dataset.preprocessing import Preprocessing
from paredown.errors import require
from paredown.foreign import ARCHITECTURE, rebuild, require_same_model
from paredown.store.hashing import describe, sha256_of
from paredown.trust import allow, code_in

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS = "model.safetensors"
_TORCH_FLAGS = ("training", "_is_full_backward_hook", "call_super_init")


class ModelSource(Protocol):
    """A node of conf/model: builds a network for any number of classes."""

    @property
    def name(self) -> str:
        """Name of the network in tables and runs."""

    @property
    def weights(self) -> str | None:
        """Published weights by name, or a file, that it starts from; None: fresh ones."""

    @property
    def fingerprint(self) -> dict[str, str]:
        """Hashes and versions that determine its weights and its logits besides its fields."""

    def build(self, classes: int, input_shape: tuple[int, int, int]) -> "nn.Module":
        """Build it with fresh weights, drawn from torch's global generator.

        Args:
            classes: Width of the logits.
            input_shape: Channels, height and width of one image.

        Raises:
            ConfigError: If it cannot be built, with the reason.
        """

    def published(self, weights: str) -> "dict[str, Tensor]":
        """Return published weights, downloaded if they are not cached.

        Raises:
            ConfigError: If there are none of that name, or no network.
        """


@runtime_checkable
class Publishes(Protocol):
    """A source whose library states the preprocessing of its published weights."""

    def preprocessing(self) -> Preprocessing | None:
        """Return it; None if the library does not state any."""


def build_meta(source: ModelSource, classes: int, input_shape: tuple[int, int, int]) -> "nn.Module":
    """Build a network for its shapes alone, on the meta device where its code can."""
    return on_meta_device(lambda: source.build(classes, input_shape))


def on_meta_device(build: "Callable[[], nn.Module]") -> "nn.Module":
    """Call a function that builds a network on the meta device, where its code can."""
    import torch

    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError):  # RegNet reads its own tensors
        return build()


def layers(module: "nn.Module") -> list[str]:
    """List the layers with weights that can be quantized, by name: convolutions and Linears."""
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

    allow(*code_in(describe(source)))  # it runs already
    architecture, state = pack(module, source, classes, input_shape)
    save_file(state, folder / WEIGHTS)
    architecture = {"weights": sha256_of(folder / WEIGHTS), **architecture}
    (folder / ARCHITECTURE).write_text(json.dumps(architecture, indent=1) + "\n")


def load(folder: Path, expected: ModelSource | None = None) -> tuple["nn.Module", ModelSource]:
    """Rebuild a saved network, bit-equal, in eval mode.

    Args:
        folder: As `save` wrote it.
        expected: Its source; None: the one that the folder names, if that is allowed to run.

    Raises:
        ConfigError: If the folder names other code.
        ValueError: If weights and architecture do not belong together.
    """
    from safetensors.torch import load_file

    architecture = json.loads((folder / ARCHITECTURE).read_text())
    if sha256_of(folder / WEIGHTS) != architecture["weights"]:
        raise ValueError(f"{folder}: the weights do not belong to the architecture beside them")
    if expected is not None:
        require_same_model(folder, expected)
    where = f"{ARCHITECTURE} in {folder}"
    source: ModelSource = expected or rebuild(architecture["model"], "model", where)
    return unpack(architecture, load_file(folder / WEIGHTS), source), source


def pack(
    module: "nn.Module", source: ModelSource, classes: int, input_shape: tuple[int, int, int]
) -> tuple[dict[str, Any], "dict[str, Tensor]"]:
    """Split a network, pruned or not, into plain data and tensors by name; see `unpack`.

    Raises:
        ConfigError: If it has weights that its source does not build.
    """
    from paredown.model.attention import HeadAttention
    from paredown.model.tensors import distinct

    fresh_network = source.build(classes, input_shape)
    attention = HeadAttention.shapes_in(module)
    HeadAttention.rebuild(fresh_network, attention)
    fresh = dict(fresh_network.named_modules())
    numbers = {
        name: changed
        for name, part in module.named_modules()
        if name in fresh and (changed := _numbers(part).items() - _numbers(fresh[name]).items())
    }
    state, tied = distinct(module)
    late = [name for name in (*state, *tied) if name not in fresh_network.state_dict()]
    rule = "make its weights when it is built"
    require(not late, f"model {source.name}", rule, ", ".join(late[:3]), "not in forward")
    architecture = {
        "model": describe(source),
        "classes": classes,
        "input_shape": list(input_shape),
        **({"attention": attention} if attention else {}),
        **({"tied": tied} if tied else {}),
        "changed": {name: dict(sorted(changed)) for name, changed in numbers.items()},
    }
    return architecture, state


def unpack(
    architecture: dict[str, Any], state: "dict[str, Tensor]", source: ModelSource
) -> "nn.Module":
    """Rebuild a network that `pack` split, in eval mode; frozen and tied weights stay so.

    Raises:
        ValueError: If an attribute is no number.
    """
    from paredown.model.attention import HeadAttention
    from paredown.model.form import arrange
    from paredown.model.tensors import fill

    module = source.build(architecture["classes"], tuple(architecture["input_shape"]))
    HeadAttention.rebuild(module, architecture.get("attention", {}))
    parts = dict(module.named_modules())
    for name, changed in architecture["changed"].items():
        for attribute, value in changed.items():
            numbers = value if isinstance(value, list) else [value]
            if not all(type(number) in (int, float, bool) for number in numbers):
                raise ValueError(f"{name}.{attribute} must be numbers, got {value}")
            setattr(parts[name], attribute, tuple(value) if isinstance(value, list) else value)
    fill(module, state, architecture.get("tied", {}))
    return arrange(module.eval())


def _numbers(part: "nn.Module") -> dict[str, float | tuple[int, ...]]:
    """Return the numbers among a module's attributes: channels, groups, heads, counters, flags."""
    return {
        name: value
        for name, value in vars(part).items()
        if (type(value) in (int, float, bool) and name not in _TORCH_FLAGS)
        or (isinstance(value, tuple) and value and all(type(number) is int for number in value))
    }
