"""The search space: from Hydra's override syntax to Optuna's distributions and back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from paredown.errors import ConfigError, require, require_one_of

Value = str | int | float


@dataclass(frozen=True)
class Space:
    """What is searched, and what stays as it is.

    Args:
        fixed: Overrides that every job gets, by the name that they override.
        swept: Distribution by the name that overrides the value; choices are the texts that
            stand after the = of an override.
        order: All names, as the command line has them.
    """

    fixed: dict[str, str]
    swept: dict[str, BaseDistribution]
    order: tuple[str, ...]

    def overrides(self, values: Mapping[str, Value]) -> list[str]:
        """Write the overrides of one job."""
        texts = {**self.fixed, **{name: f"{name}={value}" for name, value in values.items()}}
        return [texts[name] for name in self.order]

    def default(self, job: DictConfig) -> dict[str, Value] | None:
        """Return the configuration's own point; None if it is not in the space.

        Args:
            job: The configuration of a job, with hydra's own node, nothing swept.
        """
        choices = job.hydra.runtime.choices
        own = {
            name: choices[name] if name in choices else OmegaConf.select(job, name.lstrip("+"))
            for name in self.swept
        }
        return self.read({name: _text(value) for name, value in own.items()})

    def read(self, texts: Mapping[str, str]) -> dict[str, Value] | None:
        """Turn the texts of one job's values into a point; None if it is not in the space."""
        try:
            return {name: _parse(one, texts[name]) for name, one in self.swept.items()}
        except (KeyError, ValueError):
            return None

    def point(self, values: Mapping[str, object], key: str) -> dict[str, Value]:
        """Check a point that a user wrote; names may be left out.

        Raises:
            ConfigError: For a name that is not swept, or a value outside of its range.
        """
        for name in values:
            require_one_of(self.swept, f"a name in {key}", name)
        return {name: _inside(name, self.swept[name], value, key) for name, value in values.items()}


def parse(params: Mapping[str, Any], arguments: Sequence[str], loader: ConfigLoader) -> Space:
    """Read the space from hydra.sweeper.params and the command line, which wins.

    Raises:
        ConfigError: For a range that holds no value, or if nothing is swept.
    """
    texts = [f"{name}={_text(value)}" for name, value in params.items()] + list(arguments)
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(texts)
    last = {override.get_key_element(): override for override in overrides}
    swept = {name: one for name, one in last.items() if one.is_sweep_override()}
    fixed = {name: str(one.input_line) for name, one in last.items() if name not in swept}
    if not swept:
        hint = "sweep something, such as prune.amount=interval(0.1,0.8)"
        raise ConfigError(f"hydra.sweeper.params must name what to search, got nothing; {hint}")
    distributions = {name: _distribution(name, one) for name, one in swept.items()}
    return Space(fixed, distributions, tuple(last))


def marks(distribution: BaseDistribution) -> list[Value]:
    """Return the low end, the middle and the high end of a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        choices = [str(choice) for choice in distribution.choices]
        return [choices[0], choices[len(choices) // 2], choices[-1]]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    middle: float = math.sqrt(low * high) if distribution.log else (low + high) / 2
    if step is not None and not distribution.log:
        middle = low + round((middle - low) / step) * step
    if isinstance(distribution, IntDistribution):
        middle = round(middle)
    return [low, middle, high]


def values_of(name: str, distribution: BaseDistribution) -> list[Value]:
    """List every value of a discrete distribution.

    Raises:
        ConfigError: If there is no end of them.
    """
    if isinstance(distribution, CategoricalDistribution):
        return [str(choice) for choice in distribution.choices]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is None:
        got = f"interval({low},{high})"
        hint = "take range(low,high,step), or another hydra.sweeper.sampler"
        raise ConfigError(f"{name} must be a list of values for a grid, got {got}; {hint}")
    first, by = Decimal(str(low)), Decimal(str(step))
    count = int((Decimal(str(high)) - first) / by) + 1
    cast = int if isinstance(distribution, IntDistribution) else float
    return [cast(first + index * by) for index in range(count)]


def _distribution(name: str, override: Override) -> BaseDistribution:
    value = override.value()
    if isinstance(value, IntervalSweep):
        return _interval(name, value)
    if isinstance(value, RangeSweep):
        numbers = sorted(value.range())
        require(bool(numbers), name, "be a range that holds a value", override.input_line)
        step = abs(value.step)
        if all(isinstance(number, int) for number in numbers):
            return IntDistribution(numbers[0], numbers[-1], step=int(step))
        return FloatDistribution(numbers[0], numbers[-1], step=float(step))
    spelled = {"True": "true", "False": "false"}  # as a person writes them
    choices = [spelled.get(text, text) for text in override.sweep_string_iterator()]
    return CategoricalDistribution(list(dict.fromkeys(choices)))


def _interval(name: str, sweep: IntervalSweep) -> BaseDistribution:
    low, high = sweep.start, sweep.end
    assert low is not None
    assert high is not None
    got, log = f"interval({low},{high})", "log" in sweep.tags
    finite = math.isfinite(low) and math.isfinite(high)
    require(finite and low < high, name, "be an interval whose low end is below its high end", got)
    require(low > 0 or not log, name, "be above 0 to be searched on a log scale", got)
    if isinstance(low, int) and isinstance(high, int):  # int(interval(1,9))
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _inside(name: str, distribution: BaseDistribution, value: object, key: str) -> Value:
    where = f"{key}'s {name}"
    if isinstance(distribution, CategoricalDistribution):
        text = _text(value)
        require_one_of([str(choice) for choice in distribution.choices], where, text)
        return text
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    rule = f"lie in [{distribution.low}, {distribution.high}]"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    require(number and distribution.low <= value <= distribution.high, where, rule, value)  # type: ignore[operator]
    assert isinstance(value, int | float)
    return value


def _parse(distribution: BaseDistribution, text: str) -> Value:
    """Read a value of a distribution.

    Raises:
        ValueError: If it is outside.
    """
    value: Value = text
    if isinstance(distribution, FloatDistribution | IntDistribution):
        value = float(text) if isinstance(distribution, FloatDistribution) else int(text)
    if not distribution._contains(distribution.to_internal_repr(value)):
        raise ValueError(f"{text} is not in {distribution}")
    return value


def _text(value: object) -> str:
    """Write a value as an override has it after the =."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
