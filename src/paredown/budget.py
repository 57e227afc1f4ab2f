"""The limits that a variant has to meet."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from paredown.errors import require
from paredown.metric import metric_of

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Budget:
    """Limits on the metrics of a variant.

    Args:
        accuracy: At least this share, [0, 1]; None: any.
        size_mb: At most this, in 1e6 bytes; None: any.
        latency_ms: At most this, in ms of one inference; None: any.
    """

    accuracy: float | None
    size_mb: float | None
    latency_ms: float | None

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            if metric_of(name).is_share:
                require(0 <= limit <= 1, name, "lie in [0, 1]", limit)
            else:
                require(0 < limit < math.inf, name, "be above 0", limit)

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by metric."""
        limits = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def misses(self, metrics: Metrics) -> dict[str, float]:
        """Return by how much each limit is missed, in its own unit; 0 and below meets it.

        Limits on absent metrics are left out.
        """
        return {
            name: metric_of(name).shortfall(metrics[name], limit)
            for name, limit in self.limits.items()
            if name in metrics
        }

    def complaint(self, metrics: Metrics) -> str:
        """Write the limits that are missed: `size_mb 2.14 for 1`; empty if none is."""
        return ", ".join(
            f"{name} {metrics[name]:.4g} for {self.limits[name]:.4g}"
            for name, miss in self.misses(metrics).items()
            if miss > 0
        )

    def meets(self, metrics: Metrics) -> bool:
        """Check whether no limit is missed."""
        return all(miss <= 0 for miss in self.misses(metrics).values())

    def nearest(self, points: Sequence[Metrics]) -> int:
        """Return the index of the point whose worst miss, as a share of its limit, is smallest."""

        def worst(point: Metrics) -> float:
            misses, limits = self.misses(point), self.limits
            return max((miss / (limits[name] or 1) for name, miss in misses.items()), default=0.0)

        return min(range(len(points)), key=lambda index: worst(points[index]))
