"""The metrics of a variant as data, read by tables, pictures, budget, search and MLflow.

A further metric is one entry of METRICS and the code that measures it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAXIMIZE, MINIMIZE = "maximize", "minimize"


@dataclass(frozen=True)
class Metric:
    """A number that every variant has, and how it is written.

    Args:
        name: In configuration, results and MLflow; its 95 % interval is NAME_low and NAME_high.
        label: In sentences and along axes.
        column: Heading in tables; "": it has no column of its own.
        unit: Of the written number; "": none, or a percentage.
        direction: MAXIMIZE or MINIMIZE.
        form: Format specification.
        ends: The same for the ends of its interval.
        scale: Value of one written unit.
        rank: 0 stays in a narrow table; the highest is dropped first.
        untrained: Whether the network's shape determines it, so that it is known before training.
        limited: Whether the budget can limit it, and the report's front counts it.
        relative: Whether it is against the baseline of its run, so that runs differ.
        detail: Whether only tables of single runs show it.
        beside: Name of the metric that stands in brackets beside it.
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
    relative: bool = False
    detail: bool = False
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
        """The sign before a limit."""
        return "≥" if self.direction == MAXIMIZE else "≤"

    def cost(self, value: float) -> float:
        """Return a value that is to be small."""
        return -value if self.direction == MAXIMIZE else value

    def shortfall(self, value: float, limit: float) -> float:
        """Return by how much a value misses a limit; 0 and below meets it."""
        return self.cost(value) - self.cost(limit)

    def write(self, value: float) -> str:
        """Write a value without its unit."""
        return format(value / self.scale, self.form)

    def write_difference(self, value: float) -> str:
        """Write a difference of two values with its unit; of shares in percentage points."""
        return f"{100 * value:.2f} points" if self.is_share else f"{self.write(value)} {self.unit}"

    def cell(self, row: Mapping[str, Any], alone: bool = False) -> str:
        """Write its value in a row, with interval and `beside` in brackets; "" if it is absent.

        Args:
            row: Metrics by name.
            alone: Leave out the brackets.
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
    Metric("accuracy", "accuracy", "accuracy", "", MAXIMIZE, ".2%", ".1%", limited=True),
    Metric("size_mb", "size", "MB", "MB", form=".3f", untrained=True, limited=True),
    Metric("latency_ms", "latency", "ms", "ms", form=".3f", rank=2, untrained=True, limited=True,
           beside="latency_ms_p95"),
    Metric("latency_ms_p95", "p95 of the latency", unit="ms", form=".3f", untrained=True),
    Metric("speedup", "speed-up", "speed-up", "", MAXIMIZE, ".2f", rank=1, untrained=True,
           relative=True),
    Metric("params", "parameters", "params", form=",.0f", rank=3, untrained=True),
    Metric("macs", "MACs, millions", "MMACs", form=".2f", scale=1e6, rank=4, untrained=True),
    Metric("sparsity", "sparsity", "sparsity", "", MAXIMIZE, ".1%", ".1%", rank=5, untrained=True,
           detail=True),
)  # fmt: skip
QUALITY = METRICS[0]


def metric_of(name: str) -> Metric:
    """Return the metric of a name; one that is not declared is written plainly."""
    return next((metric for metric in METRICS if metric.name == name), Metric(name, name))


def metric_names() -> list[str]:
    """List the names of all metrics."""
    return [metric.name for metric in METRICS]


def table_metrics() -> list[Metric]:
    """List the metrics that have a column of their own, in the order of tables."""
    return [metric for metric in METRICS if metric.column]


def brief_metrics() -> list[Metric]:
    """List those of them that tables of many variants show."""
    return [metric for metric in table_metrics() if not metric.detail]


def limited_metrics() -> list[Metric]:
    """List the metrics that a budget can limit, quality first."""
    return [metric for metric in METRICS if metric.limited]


def limited_costs() -> list[Metric]:
    """List those of them other than quality."""
    return [metric for metric in limited_metrics() if metric is not QUALITY]
