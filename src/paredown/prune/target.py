"""What a pruned network may cost, in the place of an amount."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields

from paredown.errors import require


@dataclass(frozen=True)
class Target:
    """What the pruned network may cost at most, in one metric.

    A number is absolute, in the metric's unit; a text such as 25% is a share of what the network
    costs before it is pruned.

    Args:
        params: Trainable numbers.
        macs: Multiply-accumulates of one image.
        size_mb: 1e6 bytes of the float32 files that the stage ships.
        latency_ms: Of one inference with these files.
    """

    params: float | str | None
    macs: float | str | None
    size_mb: float | str | None
    latency_ms: float | str | None

    def __post_init__(self) -> None:
        given = {name: value for name, value in self._values().items() if value is not None}
        beside = " and ".join(list(given)[1:])
        require(not beside, next(iter(given), ""), "be the only target", f"{beside} beside it")
        for key, value in given.items():
            if isinstance(value, str):
                rule = "be a number, or a share of what is pruned, such as 25%"
                require(re.fullmatch(r"\d+(\.\d+)?%", value) is not None, key, rule, value)
                require(0 < float(value[:-1]) <= 100, key, "lie in (0, 100] %", value)
            else:
                require(0 < value < math.inf, key, "be above 0", value)

    def _values(self) -> dict[str, float | str | None]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def metric(self) -> str:
        """The metric that is limited; empty if none is."""
        return next((name for name, value in self._values().items() if value is not None), "")

    @property
    def asked(self) -> float | str:
        """As it was given."""
        value = self._values()[self.metric]
        assert value is not None
        return value

    @property
    def label(self) -> str:
        """Such as size_mb1.5 or macs25pct."""
        return f"{self.metric}{self.asked}".replace("%", "pct")

    def limit(self, before: Callable[[], float]) -> float:
        """Give the highest value that is allowed, in the metric's unit.

        Args:
            before: Tells what the network costs before it is pruned.
        """
        value = self.asked
        return before() * float(value[:-1]) / 100 if isinstance(value, str) else float(value)
