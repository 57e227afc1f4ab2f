"""Parts rebuilt from what others may have written: a run's configuration, an entry of a store."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from paredown.config import CONF, check_type
from paredown.errors import ConfigError, require, require_one_of
from paredown.store.hashing import describe
from paredown.trust import CUSTOM, MACHINE_CODE, MOVED, import_class, require_allowed

ARCHITECTURE = "architecture.json"


def rebuild(node: object, key: str, where: str) -> Any:
    """Build a part of a class that conf/ names under a key, or that the user has named.

    Nothing in it is resolved, and it holds no part of its own. A class that has moved since it was
    written is found by its old path.

    Args:
        node: A plain description, as `describe` returns it.
        key: Of the part, as in conf/, such as `runtime`.
        where: Where the node stands, for people.
    """
    place = f"{key} of {where}"
    target = node.get("_target_") if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping) or not isinstance(target, str):
        raise ConfigError(f"{place} must be a node with a _target_, got {node!r:.80}")
    values = {name: value for name, value in node.items() if name != "_target_"}
    _require_plain(values, place)
    target = MOVED.get(target, target)
    if target not in own_classes(key):
        if target.startswith("paredown."):
            import_class(target, place)  # a path that is gone is no question of trust
        require_allowed(target, place)
    if target == CUSTOM:
        require_allowed(str(values.get("target")), place)
    cls = import_class(target, place)
    _check(values, cls, place)
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None


def _require_plain(value: object, place: str) -> None:
    """Refuse parts within a part, and what Hydra or OmegaConf would resolve."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            plain = isinstance(name, str) and not name.startswith("_")
            require(plain, place, "hold no part of its own", name)
            _require_plain(inner, place)
    elif isinstance(value, list):
        for inner in value:
            _require_plain(inner, place)
    elif isinstance(value, str):
        require("${" not in value and value != "???", place, "hold values alone", value)


def _check(values: Mapping[str, Any], cls: type, place: str) -> None:
    """Raise ConfigError for an unknown or missing field of a class, or a value of a wrong type."""
    hints, known = get_type_hints(cls), {field.name: field for field in fields(cls)}
    for name, value in values.items():
        require_one_of(known, f"a name in {place}", name)
        check_type(f"{name} in {place}", value, hints[name])
    for name, field in known.items():
        needed = field.default is MISSING and field.default_factory is MISSING
        require(name in values or not needed, place, f"have {name}", sorted(values))


@cache
def own_classes(key: str) -> frozenset[str]:
    """List Paredown's classes that conf/ names for a part."""
    texts = [file.read_text() for file in (CONF / key).glob("*.yaml")]
    texts += re.findall(rf"^{key}:.*\n((?: .*\n)+)", (CONF / "config.yaml").read_text(), re.M)
    return frozenset(re.findall(r"^\s*_target_: (paredown\.[\w.]+)", "\n".join(texts), re.M))


def require_same_model(folder: Path, source: object) -> None:
    """Raise ConfigError if a folder's weights are of a network of another class than expected."""
    names, expected = _named(_model(folder)), _named(describe(source))
    hint = f"somebody else wrote it: remove {folder}"
    require(names == expected, f"{folder.name}/{ARCHITECTURE}", f"be of {expected}", names, hint)


def require_harmless(folder: Path, where: str, own: bool = False) -> None:
    """Raise ConfigError for files that would run code which the user has not named.

    They came from `where`; with `own`, this user is known to have written them.
    """
    for file in sorted(folder.rglob("*")):
        if file.name == ARCHITECTURE:
            rebuild(_model(file.parent), "model", f"{ARCHITECTURE} of {where}")
        elif file.suffix in MACHINE_CODE and not own and not is_own(file):
            require_allowed(file.name, where, "hold no machine code of others")


def is_own(file: Path) -> bool:
    """Return whether a file belongs to the user of this process."""
    return hasattr(os, "getuid") and file.stat().st_uid == os.getuid()


def _model(folder: Path) -> Any:
    """Read the description of a folder's network; None if its file is damaged."""
    try:
        return json.loads((folder / ARCHITECTURE).read_text())["model"]
    except (ValueError, KeyError, TypeError):
        return None


def _named(model: Any) -> tuple[Any, Any]:
    """Return the class of a network's description, and the user's target within it."""
    node = model if isinstance(model, Mapping) else {}
    target = node.get("_target_")
    return MOVED.get(str(target), target), node.get("target")
