"""Whose code runs: Paredown's own, and what the user of this command names. See docs/trust.md.

What is named goes into the environment, so that the processes which time and train know it, too.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from paredown.errors import ConfigError, require
from paredown.printable import one_line

CUSTOM = "paredown.model.custom.Custom"  # imports what its field `target` names
MACHINE_CODE = (".pt2", ".so", ".dll", ".dylib")  # whoever loads such a file runs it
_NAMED = "PAREDOWN_ALLOW"


@dataclass(frozen=True)
class Trust:
    """What this command may run although a store or a run names it.

    Args:
        allow: Classes, `package.module.Net` or `my_net.py:Net`; and names of files with machine
            code, such as model.pt2.
    """

    allow: list[str]

    def __post_init__(self) -> None:
        listed = isinstance(self.allow, list) and all(isinstance(each, str) for each in self.allow)
        require(listed, "allow", "be a list, such as [my_net.py:Net]", self.allow)
        allow(*self.allow)


def allow(*names: str) -> None:
    """Let this process and its children run what the user has named."""
    if not is_allowed(*names):
        os.environ[_NAMED] = "\n".join(sorted({*_allowed(), *names}))


def is_allowed(*names: str) -> bool:
    """Tell whether the user has named all of these."""
    return set(names) <= _allowed()


def require_allowed(name: str, where: str, rule: str = "hold Paredown's own parts alone") -> None:
    """Raise ConfigError, with the way out, unless the user has named something.

    Args:
        name: A class, or a file with machine code.
        where: It was found in.
        rule: What is expected there.
    """
    if not is_allowed(name):
        name = one_line(name)
        way = f"if you trust who wrote it, trust.allow=[{name}] runs it"
        raise ConfigError(f"{where} must {rule}, got {name}; {way}")


def _allowed() -> set[str]:
    return set(os.environ.get(_NAMED, "").split("\n"))


def code_in(node: object) -> Iterator[str]:
    """List the classes of others that a plain description names, however deep."""
    if isinstance(node, Mapping):
        target = node.get("_target_")
        if isinstance(target, str) and not target.startswith("paredown."):
            yield target
        if target == CUSTOM and isinstance(node.get("target"), str):
            yield node["target"]
        node = list(node.values())
    if isinstance(node, list | tuple):
        for each in node:
            yield from code_in(each)


def stays_within(name: object) -> bool:
    """Tell whether a file's name, as others wrote it, stays within the folder it is meant for."""
    if not isinstance(name, str) or not name.isprintable() or "\\" in name:
        return False
    parts = name.split("/")
    drive = PureWindowsPath(name).drive
    return not (drive or PurePosixPath(name).is_absolute() or {"", ".", ".."} & set(parts))
