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
from paredown.model import weights as own
from paredown.model.form import complete
from paredown.store.hashing import code_of

if TYPE_CHECKING:
    from torch import Tensor, nn

CLASSES = ("num_classes", "classes")  # what networks call the width of their logits


@dataclass(frozen=True)
class Custom:
    """A network of the user's.

    Args:
        name: As tables and runs name it; null for the name of what makes it.
        target: What makes it: `package.module.Net`, or `my_net.py:Net`. A parameter of that name
            in `CLASSES` gets the number of classes.
        kwargs: Its other arguments; null for none.
        weights: A .safetensors file, or a .pt file that holds tensors alone; null for fresh ones.
    """

    name: str | None
    target: str
    kwargs: dict[str, Any] | None
    weights: str | None = field(default=None, metadata={"key": False})

    def __post_init__(self) -> None:
        whole = all(self.target.rpartition(":" if ".py" in self.target else ".")[::2])
        hint = "such as my_net.py:Net or package.module.Net"
        require(whole, "target", "name what makes the network", self.target, hint)
        named = self.kwargs is None or isinstance(self.kwargs, dict)
        rule, hint = "be arguments by name", "in quotes: 'model.kwargs={width: 32, depth: 4}'"
        require(named, "kwargs", rule, self.kwargs, hint)
        if self.name is None:
            made_by = self.target.rpartition(":" if ".py" in self.target else ".")[2]
            object.__setattr__(self, "name", made_by)  # the way of a frozen dataclass

    @property
    def fingerprint(self) -> dict[str, str]:
        """Its code with that of its neighbours, and its weights."""
        return {"code": _code(self.target), **own.fingerprint(self.weights)}

    def build(self, classes: int, input_shape: tuple[int, int, int]) -> "nn.Module":
        """Call the user's code; on the CPU, since it may want numbers.

        Raises:
            ConfigError: With the error that it raised.
        """
        import torch
        from torch import nn

        with torch.device("cpu"):  # whatever asks for its shapes alone
            make = _find(self.target)
            takes = inspect.signature(make).parameters
            width = {name: classes for name in CLASSES if name in takes}
            try:
                network = make(**{**width, **(self.kwargs or {})})
            except (Exception, SystemExit) as error:
                _refuse(f"make a network of {self.kwargs or {}}", self.target, error)
            wanted = isinstance(network, nn.Module)
            require(wanted, "model.target", "make a torch.nn.Module", type(network).__name__)
            module: nn.Module = network
            try:
                return complete(module, input_shape)
            except (Exception, SystemExit) as error:
                size = "x".join(map(str, input_shape))
                _refuse(f"give its lazy layers shapes from images of {size}", self.target, error)

    def published(self, weights: str) -> "dict[str, Tensor]":
        """Raise ConfigError: nobody published any."""
        rule = f"end with {', '.join(own.FILES)}, or be null"
        raise ConfigError(f"weights of {self.name} must {rule}, got {weights!r}")


def _find(target: str) -> Callable[..., Any]:
    """Import what a target names; say what the user's code raised if it raises."""
    place, _, name = target.rpartition(":" if ".py" in target else ".")
    try:
        module = _load(Path(place)) if place.endswith(".py") else _import(place)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        _refuse(f"name code that imports, {place}", target, error)
    make: Callable[..., Any] | None = getattr(module, name, None)
    near = ", ".join(key for key, value in vars(module).items() if inspect.isclass(value))
    require(callable(make), "model.target", f"name what {place} has", name, f"such as {near[:100]}")
    assert make is not None
    return make


def _refuse(rule: str, target: str, error: BaseException) -> NoReturn:
    """Raise ConfigError with the user's own error and the line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = last.filename == __file__ or isinstance(error, SyntaxError)  # which tells its own line
    where = "" if ours else f" ({Path(last.filename).name}, line {last.lineno})"
    told = " ".join(str(error).split())[:200]
    raise ConfigError(
        f"model.target must {rule}, got {target}: {type(error).__name__}: {told}{where}"
        f"{channels_hint(told)}"
    ) from error


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # as `python -m` has it
    return importlib.import_module(name)


def _load(file: Path) -> ModuleType:
    path = file.expanduser().absolute()
    require(path.is_file(), "model.target", "name a file that is there", str(file))
    return _module(path, hashlib.sha256(path.read_bytes()).hexdigest()[:16])


@cache
def _module(path: Path, digest: str) -> ModuleType:
    """Run a file once for each content that it has; its neighbours can be imported."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
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
    """Hash the sources beside a target, which it may import, and its own."""
    place, _, _ = target.rpartition(":" if ".py" in target else ".")
    if not place.endswith(".py"):
        _find(target)  # puts the current folder where it is looked for
        package = importlib.util.find_spec(place)
        assert package is not None
        is_package = package.submodule_search_locations is not None
        return code_of(importlib.import_module(place if is_package else package.parent or place))
    digest = hashlib.sha256()
    for file in sorted(Path(place).expanduser().absolute().parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
