"""What variants are measured for, as data: tables, pictures, budget, search and MLflow read it.

A further metric is one entry of METRICS and whoever measures it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAXIMIZE, MINIMIZE = "maximize", "minimize"


@dataclass(frozen=True)
class Metric:
    """A number that every variant has, and how people read it.

    Args:
        name: In configuration, results and MLflow; its 95 % interval is NAME_low and NAME_high.
        label: In sentences and along axes.
        column: Above a table's column; "": it has none of its own.
        unit: Of the written number; "": none, or a percentage.
        direction: Which way is better.
        form: Format specification.
        ends: The same for the ends of its interval.
        scale: What one written unit is, in the unit of the value.
        rank: 0 stays in a narrow table; the highest goes first.
        untrained: Whether the network's shape decides it, known before any training.
        limited: Whether the budget can limit it, and the report's front counts it.
        beside: The metric that stands in brackets beside it.
    """

    name: str
    label: str
    column: str = ""
    unit: str = ""
    direction: str = MINIMIZE
    form: str = ".4g"
    ends: str = ".2f"
    scale: float = 1
    rank: int = 0
    untrained: bool = False
    limited: bool = False
    beside: str = ""

    @property
    def axis(self) -> str:
        """Label and unit, for an axis or the first cell of a row."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    @property
    def is_share(self) -> bool:
        """Whether it lies in [0, 1] and is written in percent."""
        return self.form.endswith("%")

    @property
    def sign(self) -> str:
        """How a limit is written: at least, or at most."""
        return "≥" if self.direction == MAXIMIZE else "≤"

    def shortfall(self, value: float, limit: float) -> float:
        """Return by how much a value misses a limit; 0 and below meets it."""
        return limit - value if self.direction == MAXIMIZE else value - limit

    def write(self, value: float) -> str:
        """Write a value without its unit."""
        return format(value / self.scale, self.form)

    def write_difference(self, value: float) -> str:
        """Write a difference of two values with its unit; of shares in percentage points."""
        return f"{100 * value:.2f} points" if self.is_share else f"{self.write(value)} {self.unit}"

    def cell(self, row: Mapping[str, Any], alone: bool = False) -> str:
        """Write what a row has of it, with its interval and `beside`; "" if the row lacks it.

        Args:
            row: Metrics by name.
            alone: Leave out what stands in brackets.
        """
        if self.name not in row:
            return ""
        text = self.write(row[self.name])
        ends = [row[end] for end in (f"{self.name}_low", f"{self.name}_high") if end in row]
        if ends and not alone:
            text += f" [{', '.join(format(end / self.scale, self.ends) for end in ends)}]"
        if self.beside in row and not alone:
            text += f" ({self.write(row[self.beside])})"
        return text


METRICS = (
    Metric(
        "accuracy",
        label="accuracy",
        column="accuracy",
        direction=MAXIMIZE,
        form=".2%",
        ends=".1%",
        limited=True,
    ),
    Metric(
        "size_mb",
        label="size",
        column="MB",
        unit="MB",
        form=".3f",
        untrained=True,
        limited=True,
    ),
    Metric(
        "latency_ms",
        label="latency",
        column="ms",
        unit="ms",
        form=".3f",
        rank=2,
        untrained=True,
        limited=True,
        beside="latency_ms_p95",
    ),
    Metric("latency_ms_p95", label="p95 of the latency", unit="ms", form=".3f", untrained=True),
    Metric(
        "speedup",
        label="speed-up",
        column="speed-up",
        direction=MAXIMIZE,
        form=".2f",
        rank=1,
        untrained=True,
    ),
    Metric("params", label="parameters", column="params", form=",.0f", rank=3, untrained=True),
    Metric(
        "macs",
        label="MACs, millions",
        column="MMACs",
        form=".2f",
        scale=1e6,
        rank=4,
        untrained=True,
    ),
    Metric(
        "sparsity",
        label="sparsity",
        column="sparsity",
        direction=MAXIMIZE,
        form=".1%",
        ends=".1%",
        rank=5,
        untrained=True,
    ),
)
QUALITY = METRICS[0]


def metric_of(name: str) -> Metric:
    """Return the metric of a name; one that nobody declared is written plainly."""
    return next((known for known in METRICS if known.name == name), Metric(name, name))


def metric_names() -> list[str]:
    """List the names of all metrics."""
    return [known.name for known in METRICS]


def table_metrics() -> list[Metric]:
    """List the metrics that have a column of their own, in the order of tables."""
    return [known for known in METRICS if known.column]
