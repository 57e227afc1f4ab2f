"""Build checked objects from the configuration; a bad value becomes one clear line."""

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
from paredown.errors import INSTALLED, ConfigError, require, require_one_of
from paredown.trust import allow, code_in, import_class

TYPES = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}


def build(cfg: DictConfig, key: str) -> Any:
    """Build the object that the node at `key` describes; its `_target_` is its own schema.

    Raises:
        ConfigError: For an unknown field, a value of a wrong type, or one that the class refuses.
    """
    node = OmegaConf.select(cfg, key)
    if not isinstance(node, DictConfig) or "_target_" not in node:
        got = f"got {node!r}; leave it out, or choose one of conf/{key}"
        raise ConfigError(f"{key} must be a node with a _target_, {got}")
    allow(*code_in(OmegaConf.to_container(node, resolve=True)))  # the user of this command names it
    check_fields(key, node)
    for name in _own_parts(node):  # built alone first, so that an error names its key
        build(cfg, f"{key}.{name}")
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, ConfigError):
            raise ConfigError(f"{key}.{error.__cause__}") from None
        raise


def build_all(cfg: DictConfig, *needed: str) -> dict[str, Any]:
    """Build and check every part of a configuration, in use or not, by key; see `build`."""
    return {key: build(cfg, key) for key in parts_of(cfg, *needed)}


def parts_of(cfg: DictConfig, *needed: str) -> list[str]:
    """List the keys of a configuration's parts, and of those that it must have."""
    nodes = {str(key): node for key, node in cfg.items() if isinstance(node, DictConfig)}
    parts = [key for key, node in nodes.items() if "_target_" in node]
    return list(dict.fromkeys((*parts, *needed)))


def check_fields(key: str, node: DictConfig) -> None:
    """Raise ConfigError for a field that the node's dataclass lacks, or a value of a wrong type."""
    cls = import_class(node["_target_"], f"{key}._target_")
    hints = typing.get_type_hints(cls)
    known = {field.name for field in fields(cls)}
    for name in map(str, node):
        if name == "_target_":
            continue
        _require_known(known, key, name)
        check_type(f"{key}.{name}", node[name], hints[name])
    for name in _own_parts(node):
        check_fields(f"{key}.{name}", node[name])


def _own_parts(node: DictConfig) -> list[str]:
    """List the fields that describe a part here, rather than pointing at one elsewhere."""
    parts = []
    for name in map(str, node):
        child = node._get_node(name)
        if isinstance(child, DictConfig) and not child._is_interpolation() and "_target_" in child:
            parts.append(name)
    return parts


def _require_known(known: set[str], key: str, name: str) -> None:
    """Refuse a field that a part does not have, and name the option of its group that has it."""
    if name in known:
        return
    from paredown.cli.mistyped import options_with

    options = " or ".join(options_with(f"{key}.{name}"))
    hint = f"; {key}.{name} is a knob of {options}" if options else ""
    try:
        require_one_of(known, f"a name in {key}", name)
    except ConfigError as error:
        raise ConfigError(f"{error}{hint}") from None


def check_type(key: str, value: object, wanted: Any) -> None:
    """Raise ConfigError unless a plain value is of the wanted type; parts are not looked into."""
    if _fits(value, wanted):
        return
    hint, group = "", key.replace(".", "/")
    percent = isinstance(value, str) and re.fullmatch(r"(\d+(?:\.\d+)?) *%", value)
    if percent and _fits(0.5, wanted):
        hint = f"{float(percent[1]) / 100:g} is {value}"
    elif (CONF / group).is_dir():
        hint = f"{group}={value} chooses an option"
    elif _is_part(wanted) and key.endswith(".student"):
        hint = f"model@student={value} chooses an option"
    require(False, key, f"be {_type_name(wanted)}", value, hint)


def _fits(value: object, wanted: Any) -> bool:
    if _is_union(wanted):
        return any(_fits(value, option) for option in typing.get_args(wanted))
    if wanted is type(None):
        return value is None
    if wanted in (int, float):
        return isinstance(value, int | wanted) and not isinstance(value, bool)
    if wanted in (str, bool):
        return isinstance(value, wanted)
    return not _is_part(wanted) or isinstance(value, Mapping | DictConfig)  # checked by itself


def _type_name(wanted: Any) -> str:
    if _is_union(wanted):
        return " or ".join(_type_name(option) for option in typing.get_args(wanted))
    if _is_part(wanted):
        return "a part of its own"
    return TYPES.get(wanted, "null" if wanted is type(None) else str(wanted))


def _is_union(wanted: Any) -> bool:
    return typing.get_origin(wanted) in (typing.Union, types.UnionType)


def _is_part(wanted: Any) -> bool:
    return is_dataclass(wanted) or getattr(wanted, "_is_protocol", False)


def typed(verb: str) -> str:
    """Return the command as a person types it: `python run.py` in a checkout, or `paredown run`."""
    return f"paredown {verb}" if INSTALLED else f"python {verb}.py"
