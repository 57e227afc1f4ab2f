"""Descriptions of objects in plain data, which are hashed, logged and rebuilt; and the hashes."""

import hashlib
import json
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from paredown.errors import require


def describe(part: Any, key_only: bool = False) -> Any:
    """Convert a part of the configuration back into the plain node that builds it.

    Args:
        part: A frozen dataclass, or a value of its fields.
        key_only: Leave out fields marked `metadata={"key": False}`: those that do not change the
            part's results, such as the number of threads.

    Returns:
        Dictionaries, lists, texts and numbers; a dataclass carries its class as `_target_`.
    """
    if is_dataclass(part) and not isinstance(part, type):
        cls = type(part)
        node = {
            field.name: describe(getattr(part, field.name), key_only)
            for field in fields(part)
            if not (key_only and field.metadata.get("key") is False)
        }
        return {"_target_": f"{cls.__module__}.{cls.__qualname__}", **node}
    if isinstance(part, dict):
        return {str(name): describe(value, key_only) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [describe(value, key_only) for value in part]
    return part


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key_of(*parts: Any) -> str:
    """Hash plain data into a key; equal data give equal keys in any process."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@cache
def code_of(*modules: ModuleType) -> str:
    """Hash the sources of modules, of a package with everything in it: changed code, new keys.

    Raises:
        ConfigError: For a module without a file: its code could change unnoticed.
    """
    digest = hashlib.sha256()
    for module in modules:
        for name, file in _sources(module):
            digest.update(f"{name}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _sources(module: ModuleType) -> list[tuple[str, Path]]:
    """List the source files of a module, each with its name within the package."""
    roots = [Path(root) for root in getattr(module, "__path__", ())]
    files = [(f.relative_to(root).as_posix(), f) for root in roots for f in root.rglob("*.py")]
    if not roots and (origin := getattr(module, "__file__", None)):
        files = [(Path(origin).name, Path(origin))]
    rule, hint = "have its source in a file, which counts in every key", "write it into one"
    there = bool(files) and all(file.is_file() for _, file in files)
    require(there, f"module {module.__name__}", rule, getattr(module, "__file__", None), hint)
    return sorted(files)
