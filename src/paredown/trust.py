"""Whose code runs: Paredown's own, and what the user of this command names. See docs/trust.md.

Named code goes into the environment, so that the processes which time and train know it, too.
"""

import importlib
import os
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from paredown.errors import ConfigError, first_line, require
from paredown.printable import one_line

CUSTOM = "paredown.model.custom.Custom"  # imports what its field `target` names
MACHINE_CODE = (".pt2", ".so", ".dll", ".dylib")  # loading such a file runs it
_NAMED = "PAREDOWN_ALLOW"

MOVED = {
    "paredown.front.Budget": "paredown.budget.Budget",
    "paredown.prune.sensitivity.Sensitivity": "paredown.studies.prune_sensitivity.Sensitivity",
    "paredown.quantize.sensitivity.Sensitivity": (
        "paredown.studies.quantize_sensitivity.Sensitivity"
    ),
    "paredown.sweep.NoSweep": "paredown.sweep.callback.NoSweep",
    "paredown.sweep.SweepCallback": "paredown.sweep.callback.SweepCallback",
    "paredown.timing.Timing": "paredown.measure.latency.Timing",
}
"""Paths of classes, as runs of earlier versions logged them in `_target_`, and their new ones."""


@dataclass(frozen=True)
class Trust:
    """What this command may run although a store or a run names it.

    Args:
        allow: Classes, `package.module.Net` or `my_net.py:Net`; and names of files with machine
            code, such as model.pt2.
    """

    allow: list[str]

    def __post_init__(self) -> None:
        is_list = isinstance(self.allow, list) and all(isinstance(name, str) for name in self.allow)
        require(is_list, "allow", "be a list, such as [my_net.py:Net]", self.allow)
        allow(*self.allow)


def allow(*names: str) -> None:
    """Allow this process and its children to run what the user has named."""
    if not is_allowed(*names):
        os.environ[_NAMED] = "\n".join(sorted({*_allowed(), *names}))


def is_allowed(*names: str) -> bool:
    """Return whether the user has named all of these."""
    return set(names) <= _allowed()


def require_allowed(name: str, where: str, rule: str = "hold Paredown's own parts alone") -> None:
    """Raise ConfigError, with the way out, unless the user has named a class or file."""
    if not is_allowed(name):
        name = one_line(name)
        hint = f"if you trust who wrote it, trust.allow=[{name}] runs it"
        raise ConfigError(f"{where} must {rule}, got {name}; {hint}")


def _allowed() -> set[str]:
    return set(os.environ.get(_NAMED, "").split("\n"))


def code_in(node: object) -> Iterator[str]:
    """List the classes outside of Paredown that a plain description names, however deep."""
    if isinstance(node, Mapping):
        target = node.get("_target_")
        if isinstance(target, str) and not target.startswith("paredown."):
            yield target
        if target == CUSTOM and isinstance(node.get("target"), str):
            yield node["target"]
        node = list(node.values())
    if isinstance(node, list | tuple):
        for item in node:
            yield from code_in(item)


def import_class(target: str, place: str) -> type:
    """Import the class that a `_target_` names.

    Raises:
        ConfigError: If there is no such class, with its new path if it has moved.
    """
    rule = f"{place} must name a class that exists, got {one_line(target)}"
    try:
        cls = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        reason: Exception = error
        try:
            importlib.import_module(target.rpartition(".")[0])
        except (ImportError, ValueError) as inner:  # resolve_name hides why a module fails
            reason = inner
        hint = f"; it is now {MOVED[target]}" if target in MOVED else f": {first_line(reason)}"
        raise ConfigError(rule + hint) from reason
    if not isinstance(cls, type):
        raise ConfigError(f"{rule}, a {type(cls).__name__}")
    return cls


def stays_within(name: object) -> bool:
    """Return whether a file name that others wrote stays within the folder it is meant for."""
    if not isinstance(name, str) or not name.isprintable() or "\\" in name:
        return False
    parts = name.split("/")
    drive = PureWindowsPath(name).drive
    return not (drive or PurePosixPath(name).is_absolute() or {"", ".", ".."} & set(parts))
