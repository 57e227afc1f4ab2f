"""The jobs of a grid, checked before any work: composed once per shape, each part built once.

Composing and building a job takes 0.15 to 0.3 s of CPU, and the jobs of a grid have mostly the same
parts. Jobs that choose the same options differ in plain values alone: these are put into one
composed configuration, and a part is built again only where its values are new, which takes 0.01 s.
"""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict

from paredown.config import build, parts_of
from paredown.errors import ConfigError
from paredown.model.fresh import require_trained_early
from paredown.printable import hide_passwords
from paredown.run.plan import Plan, plan

log = logging.getLogger(__name__)

MANY = 200  # jobs whose check takes long enough to be told


def check_jobs(jobs: Sequence[Sequence[str]], compose: Callable[[list[str]], DictConfig]) -> Plan:
    """Build every part of every job, and return the plan of the first.

    Raises:
        ConfigError: For the first job that cannot work, or that an earlier one does already.
    """
    if len(jobs) > MANY:
        log.info("checking the settings of %d jobs before any work", len(jobs))
    built = _Built()
    shapes: dict[tuple[str, ...], DictConfig] = {}
    plans = []
    every = [OverridesParser.create().parse_overrides(list(overrides)) for overrides in jobs]
    _require_distinct(jobs, every)
    for parsed in every:
        plans.append(plan(_configuration(parsed, shapes, compose), built))
        require_trained_early(plans[-1])
    return plans[0]


def _require_distinct(jobs: Sequence[Sequence[str]], every: Sequence[Sequence[Override]]) -> None:
    """Refuse two jobs that set the same values, however they are written: 0.3 and 0.30."""
    first_jobs: dict[str, Sequence[str]] = {}
    fixed = set(jobs[0]).intersection(*jobs)
    for job, parsed in zip(jobs, every, strict=True):
        settings = repr(sorted(_settings(parsed).items()))
        if settings in first_jobs:
            one, other = (
                " ".join(text for text in texts if text not in fixed) or " ".join(texts)
                for texts in (first_jobs[settings], job)
            )
            got = f"{one} twice" if one == other else f"{one} and {other}, which are equal"
            message = f"hydra.sweeper must make each job once, got {got}; leave one out"
            raise ConfigError(hide_passwords(message))
        first_jobs[settings] = job


def _settings(parsed: Sequence[Override]) -> dict[str, Any]:
    """List what overrides set, the last of a name, in a form in which equal values look alike."""
    return {
        f"{one.key_or_group}@{one.package or ''} {one.type}": _alike(one.value()) for one in parsed
    }


def _alike(value: Any) -> Any:
    """Write whole numbers alike, 1 and 1.0, wherever they stand in a value."""
    if isinstance(value, list):
        return [_alike(part) for part in value]
    if isinstance(value, dict):
        return sorted((str(name), _alike(part)) for name, part in value.items())
    integral = isinstance(value, float) and value.is_integer()
    return int(value) if integral else value


def _configuration(
    parsed: Sequence[Override],
    shapes: dict[tuple[str, ...], DictConfig],
    compose: Callable[[list[str]], DictConfig],
) -> DictConfig:
    """Return a job's configuration: one of its shape with its values set, or a new one."""
    texts = [str(override.input_line) for override in parsed]
    for shape, cfg in shapes.items():
        values = _values(parsed, cfg)
        if shape == _shape(parsed, values):
            with open_dict(cfg):
                for name, value in values.items():
                    OmegaConf.update(cfg, name, value, merge=False)
            return cfg
    cfg = compose(texts)
    shapes[_shape(parsed, _values(parsed, cfg))] = cfg
    return cfg


def _shape(parsed: Sequence[Override], values: dict[str, Any]) -> tuple[str, ...]:
    """Return a key shared by jobs that differ in plain values only."""
    names = (override.key_or_group for override in parsed)
    return tuple(
        name if name in values else str(override.input_line)
        for name, override in zip(names, parsed, strict=True)
    )


def _values(parsed: Sequence[Override], cfg: DictConfig) -> dict[str, Any]:
    """List the overrides that set one plain value of a configuration, the last of a name."""
    return {
        override.key_or_group: override.value()
        for override in parsed
        if override.type is OverrideType.CHANGE
        and override.package is None
        and isinstance(override.value(), str | int | float | bool | None)
        and _is_plain(cfg, override.key_or_group)
    }


def _is_plain(cfg: DictConfig, name: str) -> bool:
    """Return whether a name is that of one literal value."""
    folder, _, leaf = name.rpartition(".")
    node = OmegaConf.select(cfg, folder) if folder else cfg
    return (
        isinstance(node, DictConfig)
        and leaf in node
        and not OmegaConf.is_interpolation(node, leaf)
        and not OmegaConf.is_config(node._get_node(leaf))
        and leaf != "_target_"
    )


class _Built:
    """Builds the parts of configurations, as `config.build_all` does, and each of them once."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, str], Any] = {}

    def __call__(self, cfg: DictConfig, *needed: str) -> dict[str, Any]:
        """Build every part of a configuration, by key."""
        return {name: self._part(cfg, name) for name in parts_of(cfg, *needed)}

    def _part(self, cfg: DictConfig, name: str) -> Any:
        node = cfg.get(name)
        if not isinstance(node, DictConfig):
            return build(cfg, name)  # which says what is wrong
        text = json.dumps(OmegaConf.to_container(node, resolve=True), sort_keys=True, default=repr)
        key = name, text
        if key not in self._parts:
            self._parts[key] = build(cfg, name)
        return self._parts[key]
