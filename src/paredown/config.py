"""The door: turn configuration into checked objects, and bad input into one clear line."""

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate  # noqa: TID251, this is the one place
from omegaconf import DictConfig, OmegaConf

from paredown.cli.composition import CONF as CONF
from paredown.cli.composition import composed as composed
from paredown.errors import (
    INSTALLED,
    ConfigError,
    require,
    require_one_of,
)
from paredown.trust import allow, code_in, import_class


def build(cfg: DictConfig, key: str) -> Any:
    """Build the object that the node at `key` describes; its `_target_` is its own schema.

    Args:
        cfg: The composed configuration.
        key: Where the node stands in it, such as `prune`.

    Raises:
        ConfigError: For an unknown field, a value of a wrong type, or one that the class refuses.
    """
    node = OmegaConf.select(cfg, key)
    if not isinstance(node, DictConfig) or "_target_" not in node:
        got = f"got {node!r}; leave it out, or choose one of conf/{key}"
        raise ConfigError(f"{key} must be a node with a _target_, {got}")
    allow(*code_in(OmegaConf.to_container(node, resolve=True)))  # the user of this command names it
    check_fields(key, node)
    for name in map(str, node):  # a part of its own within this one names its own key
        own = not OmegaConf.is_interpolation(node, name) and node._get_node(name)
        if isinstance(own, DictConfig) and "_target_" in own:
            build(cfg, f"{key}.{name}")
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, ConfigError):
            raise ConfigError(f"{key}.{error.__cause__}") from None
        raise


def build_all(cfg: DictConfig, *needed: str) -> dict[str, Any]:
    """Build every part of a configuration, by key; each is checked, in use or not.

    Args:
        cfg: The composed configuration.
        needed: Keys that must be parts.

    Raises:
        ConfigError: As `build` does.
    """
    return {key: build(cfg, key) for key in parts_of(cfg, *needed)}


def parts_of(cfg: DictConfig, *needed: str) -> list[str]:
    """List the keys of a configuration's parts, and of those that it needs."""
    nodes = {str(key): node for key, node in cfg.items() if isinstance(node, DictConfig)}
    parts = [key for key, node in nodes.items() if "_target_" in node]
    return list(dict.fromkeys((*parts, *needed)))


def check_fields(key: str, node: DictConfig) -> None:
    """Compare a node with the dataclass it describes: no unknown fields, no wrong types.

    Raises:
        ConfigError: Naming the field, and the nearest valid one where it is unknown.
    """
    cls = import_class(node["_target_"], f"{key}._target_")
    hints = typing.get_type_hints(cls)
    known = {field.name for field in fields(cls)}
    for name in map(str, node):
        if name == "_target_":
            continue
        _require_known(known, key, name)
        check_type(f"{key}.{name}", node[name], hints[name])
        if _is_own_part(node, name):
            check_fields(f"{key}.{name}", node[name])


def _require_known(known: set[str], key: str, name: str) -> None:
    """Refuse a field that a part has not, and say which option of its group has it."""
    if name in known:
        return
    from paredown.cli.mistyped import options_with

    others = " or ".join(options_with(f"{key}.{name}"))
    hint = f"; {key}.{name} is a knob of {others}" if others else ""
    try:
        require_one_of(known, f"a name in {key}", name)
    except ConfigError as error:
        raise ConfigError(f"{error}{hint}") from None


def _is_own_part(node: DictConfig, name: str) -> bool:
    """Tell whether a field describes a part here, rather than pointing at one elsewhere."""
    own = not OmegaConf.is_interpolation(node, name) and isinstance(node[name], DictConfig)
    return own and "_target_" in node[name]


def check_type(key: str, value: object, wanted: Any) -> None:
    """Raise ConfigError unless a plain value is of the wanted type; parts are not looked into."""
    fits = _fits(value, wanted)
    require(fits, key, f"be {_say(wanted)}", value, "" if fits else _mend(key, value, wanted))


def _mend(key: str, value: object, wanted: Any) -> str:
    """Say what may be meant by a value of a wrong type; empty where nothing is known."""
    percent = isinstance(value, str) and re.fullmatch(r"(\d+(?:\.\d+)?) *%", value)
    if percent and _fits(0.5, wanted):
        return f"{float(percent[1]) / 100:g} is {value}"
    group = key.replace(".", "/")
    return f"{group}={value} chooses an option" if (CONF / group).is_dir() else ""


def _fits(value: object, wanted: Any) -> bool:
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(wanted))
    if wanted is type(None):
        return value is None
    if wanted is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted in (str, bool):
        return isinstance(value, wanted)
    if is_dataclass(wanted) or getattr(wanted, "_is_protocol", False):  # checked by itself
        return isinstance(value, Mapping | DictConfig)
    return True


def _say(wanted: Any) -> str:
    words = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        return " or ".join(_say(option) for option in typing.get_args(wanted))
    if is_dataclass(wanted) or getattr(wanted, "_is_protocol", False):
        return "a part of its own"
    return words.get(wanted, "null" if wanted is type(None) else str(wanted))


def typed(verb: str) -> str:
    """Say what a person types: `python run.py` in a checkout, else `paredown run`."""
    return f"paredown {verb}" if INSTALLED else f"python {verb}.py"
