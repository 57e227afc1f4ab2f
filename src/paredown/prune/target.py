"""The cost that a pruned network may reach, instead of an amount."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields

from paredown.errors import require


@dataclass(frozen=True)
class Target:
    """The highest cost of the pruned network, in one metric.

    A number is absolute, in the metric's unit; a text such as 25% is a share of the cost before
    pruning.

    Args:
        params: Trainable parameters.
        macs: Multiply-accumulates per image.
        size_mb: 1e6 bytes of the float32 files that the stage ships.
        latency_ms: Of one inference with these files.
    """

    params: float | str | None
    macs: float | str | None
    size_mb: float | str | None
    latency_ms: float | str | None

    def __post_init__(self) -> None:
        limits = self._limits
        beside = " and ".join(list(limits)[1:])
        require(not beside, next(iter(limits), ""), "be the only target", f"{beside} beside it")
        for key, value in limits.items():
            if isinstance(value, str):
                rule = "be a number, or a share of what is pruned, such as 25%"
                require(re.fullmatch(r"\d+(\.\d+)?%", value) is not None, key, rule, value)
                require(0 < float(value[:-1]) <= 100, key, "lie in (0, 100] %", value)
            else:
                require(0 < value < math.inf, key, "be above 0", value)

    @property
    def _limits(self) -> dict[str, float | str]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def metric(self) -> str:
        """The metric that is limited; empty if none is."""
        return next(iter(self._limits), "")

    @property
    def value(self) -> float | str:
        """The limit as configured."""
        return self._limits[self.metric]

    @property
    def label(self) -> str:
        """Such as size_mb1.5 or macs25pct."""
        return f"{self.metric}{self.value}".replace("%", "pct")

    def limit(self, before: Callable[[], float]) -> float:
        """Return the limit in the metric's unit; `before` measures the cost before pruning."""
        value = self.value
        return before() * float(value[:-1]) / 100 if isinstance(value, str) else float(value)
