"""Your own network: a class or a function, by dotted path or in a file."""

import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from paredown.dataset.preprocessing import channels_hint
from paredown.errors import ConfigError, require
from paredown.model.weights import fingerprint, refuse_published
from paredown.printable import one_line
from paredown.store.hashing import code_of

if TYPE_CHECKING:
    from torch import Tensor, nn

CLASSES = ("num_classes", "classes")  # usual names of the argument for the width of the logits


@dataclass(frozen=True)
class Custom:
    """A network of the user's.

    Args:
        name: Of the network, in tables and runs; null for the name of its class or function.
        target: The class or function, `package.module.Net` or `my_net.py:Net`. A parameter of a
            name in `CLASSES` gets the number of classes.
        kwargs: Its other arguments; null for none.
        weights: A .safetensors file, or a .pt file that holds tensors alone; null for fresh ones.
    """

    name: str | None
    target: str
    kwargs: dict[str, Any] | None
    weights: str | None = field(default=None, metadata={"key": False})

    def __post_init__(self) -> None:
        place, name = _split(self.target)
        hint = "such as my_net.py:Net or package.module.Net"
        require(bool(place and name), "target", "name what makes the network", self.target, hint)
        by_name = self.kwargs is None or isinstance(self.kwargs, dict)
        rule, hint = "be arguments by name", "in quotes: 'model.kwargs={width: 32, depth: 4}'"
        require(by_name, "kwargs", rule, self.kwargs, hint)
        if self.name is None:
            object.__setattr__(self, "name", name)  # as a frozen dataclass requires

    @property
    def fingerprint(self) -> dict[str, str]:
        """Its code with the files beside it, and its weights."""
        return {"code": _code(self.target), **fingerprint(self.weights)}

    def build(self, classes: int, input_shape: tuple[int, int, int]) -> "nn.Module":
        """Call the user's code; on the CPU, since it may need numbers."""
        import torch
        from torch import nn

        from paredown.model.form import complete

        with torch.device("cpu"):  # even where the caller needs shapes alone
            make = _import_target(self.target)
            parameters = inspect.signature(make).parameters
            width = {name: classes for name in CLASSES if name in parameters}
            try:
                network = make(**{**width, **(self.kwargs or {})})
            except (Exception, SystemExit) as error:
                _refuse(f"make a network of {self.kwargs or {}}", self.target, error)
            is_module = isinstance(network, nn.Module)
            require(is_module, "model.target", "make a torch.nn.Module", type(network).__name__)
            module: nn.Module = network
            try:
                return complete(module, input_shape)
            except (Exception, SystemExit) as error:
                size = "x".join(map(str, input_shape))
                _refuse(f"initialize its lazy layers from images of {size}", self.target, error)

    def published(self, weights: str) -> "dict[str, Tensor]":
        """Raise ConfigError: there are no published weights."""
        refuse_published(str(self.name), weights)


def _split(target: str) -> tuple[str, str]:
    """Split a target into its module or file, and the name within it."""
    place, _, name = target.rpartition(":" if ".py" in target else ".")
    return place, name


def _import_target(target: str) -> Callable[..., Any]:
    """Import the class or function that a target names."""
    place, name = _split(target)
    try:
        module = _import(place)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        _refuse(f"name code that imports, {place}", target, error)
    make: Callable[..., Any] | None = getattr(module, name, None)
    classes = ", ".join(key for key, value in vars(module).items() if inspect.isclass(value))
    hint = f"such as {classes[:100]}"
    require(callable(make), "model.target", f"name what {place} has", name, hint)
    assert make is not None
    return make


def _refuse(rule: str, target: str, error: BaseException) -> NoReturn:
    """Raise ConfigError with the user's own error and the line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    # a SyntaxError names its own line
    no_line = last.filename == __file__ or isinstance(error, SyntaxError)
    line = "" if no_line else f" ({Path(last.filename).name}, line {last.lineno})"
    message = one_line(str(error))[:200]
    raise ConfigError(
        f"model.target must {rule}, got {target}: {type(error).__name__}: {message}{line}"
        f"{channels_hint(message)}"
    ) from error


def _import(place: str) -> ModuleType:
    """Import a module, as `python -m` does, or a file."""
    if not place.endswith(".py"):
        _add_to_path(Path.cwd())
        return importlib.import_module(place)
    path = Path(place).expanduser().absolute()
    require(path.is_file(), "model.target", "name a file that exists", place)
    return _import_file(path, hashlib.sha256(path.read_bytes()).hexdigest()[:16])


def _add_to_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


@cache
def _import_file(path: Path, digest: str) -> ModuleType:
    """Import a file, once per content; the files beside it can be imported, too."""
    _add_to_path(path.parent)
    name = f"paredown_user_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _code(target: str) -> str:
    """Hash the source of a target and of the files beside it, which it may import."""
    place, _ = _split(target)
    if not place.endswith(".py"):
        _import_target(target)  # adds the current folder to the path
        package = importlib.util.find_spec(place)
        assert package is not None
        is_package = package.submodule_search_locations is not None
        return code_of(importlib.import_module(place if is_package else package.parent or place))
    digest = hashlib.sha256()
    for file in sorted(Path(place).expanduser().absolute().parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
