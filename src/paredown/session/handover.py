"""A network and images from Python, written as files and as the overrides that name them.

Both lie in the user's cache folder under a hash of their content, so that a session, `python
run.py` with these overrides, and `pick.py` later use the same ones.
"""

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

from paredown.config import build, composed
from paredown.dataset.arrays import ROLES, as_split
from paredown.errors import ConfigError, require
from paredown.host.files import write_atomically
from paredown.model.custom import CLASSES

if TYPE_CHECKING:
    from torch import nn

DATA, MODEL = "Session's data", "Session's model"
PLAIN = (int, float, str, bool, type(None))
SAME = 1e-4  # of the largest logit
MOVE = "put its class into a file of its own, my_net.py, and import it from there"


def data_overrides(data: object) -> list[str]:
    """Write images and labels into a file, and return the overrides that make it the data set.

    They come as a pair (images, labels), as a torch Dataset of such pairs, or as a mapping of
    "train" and, optionally, "val" and "test" to one of these.

    Raises:
        ConfigError: For anything else.
    """
    splits = data if isinstance(data, Mapping) else {"train": data}
    unknown = sorted(map(str, splits.keys() - set(ROLES)))
    require("train" in splits and not unknown, DATA, "be of train, val and test", sorted(splits))
    arrays: dict[str, Any] = {}
    for role, part in splits.items():
        split = as_split(*_pair(part), f"{DATA} ({role})" if len(splits) > 1 else DATA)
        arrays |= {f"{role}_images": split.images, f"{role}_labels": split.labels}
    names = getattr(splits["train"], "classes", None)
    if names is not None:
        arrays["classes"] = np.array([str(name) for name in names])

    def write(file: Path) -> None:
        with file.open("wb") as out:
            np.savez(out, **arrays)

    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return ["dataset=arrays", _set("dataset.file", _keep(digest.hexdigest(), ".npz", write))]


def _pair(data: Any) -> tuple[Any, Any]:
    """Return the images and labels of a pair of arrays, or of all samples of a torch Dataset."""
    if isinstance(data, tuple | list) and len(data) == 2:
        return _as_bytes(np.asarray(_plain(data[0]))), np.asarray(_plain(data[1]))
    rule, hint = "be a pair of arrays (images, labels)", "or a torch Dataset with a length"
    has_samples = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    require(has_samples, DATA, rule, type(data).__name__, hint)
    pairs = [data[number] for number in range(len(data))]
    images = [np.asarray(_plain(image)) for image, _ in pairs]
    shapes = {image.shape for image in images}
    rule, hint = "have images of one size", "add a Resize to its transform"
    require(len(shapes) == 1, DATA, rule, sorted(shapes)[:3], hint)
    return _as_bytes(np.stack(images)), np.array([int(label) for _, label in pairs])


def _plain(value: Any) -> Any:
    """Move a tensor to where NumPy reads it."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _as_bytes(images: Any) -> Any:
    """Convert numbers in 0..1, as of torchvision's ToTensor, into bytes."""
    if not np.issubdtype(images.dtype, np.floating):
        return images
    low, high = float(images.min()), float(images.max())
    hint = "leave Normalize out of the transform: dataset.mean and dataset.std do that here"
    require(low >= 0 and high <= 1, DATA, "have pixels of 0..1", f"{low:.3g}..{high:.3g}", hint)
    return np.rint(images * 255).astype(np.uint8)


def model_overrides(module: "nn.Module", classes: int, shape: tuple[int, int, int]) -> list[str]:
    """Write a network's weights into a file, and return the overrides that rebuild it.

    The shape is that of one image: channels, height and width.

    Raises:
        ConfigError: If its class cannot be imported, or builds another network.
    """
    from safetensors.torch import save

    state = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in module.state_dict().items()
    }
    content = save(state)
    digest = hashlib.sha256(content).hexdigest()
    weights = _keep(digest, ".safetensors", lambda file: file.write_bytes(content))
    named = [*_source(module, state), _set("model.weights", weights)]
    _require_same(module, named, classes, shape)
    return named


def _source(module: "nn.Module", state: Mapping[str, Any]) -> list[str]:
    """Return the overrides of a library's builder, or of a class with its arguments."""
    cls = type(module)
    library = cls.__module__.partition(".")[0]
    if library == "torchvision":
        return ["model=resnet18", _set("model.name", _torchvision(cls, state))]
    architecture = (getattr(module, "pretrained_cfg", None) or {}).get("architecture")
    if library == "timm" and architecture:
        return ["model=timm", _set("model.architecture", architecture)]
    kwargs = _arguments(module) or None
    return ["model=custom", _set("model.target", _target(cls)), _set("model.kwargs", kwargs)]


def _torchvision(cls: type, state: Mapping[str, Any]) -> str:
    """Return the builder of torchvision that gives a class with tensors of these shapes."""
    import torch
    from torchvision import models

    wanted = {name: tuple(tensor.shape[1:]) for name, tensor in state.items()}
    for name in models.list_models(module=models):
        if get_type_hints(models.get_model_builder(name))["return"] is cls:
            with torch.device("meta"):
                other = models.get_model(name, weights=None).state_dict()
            if wanted == {key: tuple(tensor.shape[1:]) for key, tensor in other.items()}:
                return str(name)
    raise ConfigError(
        f"{MODEL} must be as torchvision builds it, got a {cls.__name__} of other layers; {MOVE}"
    )


def _target(cls: type) -> str:
    """Name a class as `model.target` does: in a file, or by its dotted path."""
    module = sys.modules.get(cls.__module__)
    reachable = module is not None and getattr(module, cls.__qualname__, None) is cls
    importable = reachable and cls.__module__ != "__main__"
    name = f"{cls.__qualname__} of {cls.__module__}"
    require(importable, MODEL, "have a class that can be imported", name, MOVE)
    file = getattr(module, "__file__", None)
    if file and file.endswith(".py") and "." not in cls.__module__:
        return f"{Path(file).absolute()}:{cls.__qualname__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def _arguments(module: "nn.Module") -> dict[str, Any]:
    """Return the arguments that rebuild a network: its attributes of the same names."""
    arguments: dict[str, Any] = {}
    missing = []
    for name, parameter in inspect.signature(type(module)).parameters.items():
        is_variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if is_variadic or name in CLASSES:  # the number of classes is filled in
            continue
        value = getattr(module, name, inspect.Parameter.empty)
        if isinstance(value, PLAIN):
            arguments[name] = value
        elif parameter.default is inspect.Parameter.empty:
            missing.append(name)
    hint = f"keep them as self.{missing[0]} and so on, plain values" if missing else ""
    rule = "keep the arguments of its __init__, which rebuild it"
    require(not missing, MODEL, rule, f"{type(module).__name__} without {', '.join(missing)}", hint)
    return arguments


def _require_same(
    module: "nn.Module", named: list[str], classes: int, shape: tuple[int, int, int]
) -> None:
    """Refuse a network whose class rebuilds it with other layers or other logits."""
    import torch

    from paredown.model.loading import build_with_weights

    rebuilt = build_with_weights(build(composed(*named), "model"), classes, shape).eval()
    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    was_training = module.training
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            expected, logits = module.eval()(images.to(device)).cpu(), rebuilt(images)
    finally:
        module.train(was_training)
    if expected.shape != logits.shape:
        return  # a head of other classes, which starts afresh and is reported
    far = float((expected - logits).abs().max()) > SAME * float(expected.abs().max())
    hint = "let its class build all of it, with the arguments that it keeps"
    require(not far, MODEL, "give the same logits when its class rebuilds it", "others", hint)


def _keep(digest: str, ending: str, write: Callable[[Path], object]) -> str:
    """Write a file into the cache folder unless it is there; return its path."""
    from platformdirs import user_cache_path

    folder = user_cache_path("paredown") / "handed"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{digest[:32]}{ending}"
    if not file.is_file():
        write_atomically(file, write)
    return str(file)


def _set(key: str, value: object) -> str:
    """Write an override, quoted as Hydra reads it."""
    if isinstance(value, dict):
        pairs = ",".join(f"{name}:{json.dumps(inner)}" for name, inner in value.items())
        return f"{key}={{{pairs}}}"
    return f"{key}={json.dumps(value, ensure_ascii=False)}"
