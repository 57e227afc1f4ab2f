"""The Pareto front of variants, its hypervolume, and the budget that they must meet."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paredown.errors import require

MAXIMIZE, MINIMIZE = "maximize", "minimize"
METRICS = (
    "accuracy",
    "size_mb",
    "latency_ms",
    "latency_ms_p95",
    "speedup",
    "params",
    "macs",
    "sparsity",
)
"""What every variant is measured for, and so what can be an objective."""

Metrics = Mapping[str, float]
Objectives = Mapping[str, str]
"""Metric name -> maximize or minimize."""


def front(points: Sequence[Metrics], objectives: Objectives) -> list[int]:
    """List the points that no other point dominates, in order; of equal points the first.

    A point dominates another when it is nowhere worse and somewhere better.

    Args:
        points: Metrics of each point; finite.
        objectives: Which metrics count, and their directions.

    Returns:
        Indices into `points`.
    """
    costs = [_costs(point, objectives) for point in points]
    # Sorted by cost, a point can be dominated only by one before it, and by one that is kept.
    kept: list[int] = []
    for index in sorted(range(len(costs)), key=lambda index: (costs[index], index)):
        if not any(_covers(costs[other], costs[index]) for other in kept):
            kept.append(index)
    return sorted(kept)


def hypervolume(points: Sequence[Metrics], objectives: Objectives, reference: Metrics) -> float:
    """Measure the space that the points dominate, up to a reference point.

    A point that is not better than the reference in every objective adds nothing.

    Source: Fonseca, Paquete and Lopez-Ibanez, An improved dimension-sweep algorithm for the
    hypervolume indicator, CEC 2006; as in moocore.

    Args:
        points: Metrics of each point; finite.
        objectives: Which metrics count, and their directions.
        reference: The worst value of each objective; keep it fixed to compare.
    """
    bound = _costs(reference, objectives)
    costs = [_costs(point, objectives) for point in points]
    inside = [cost for cost in costs if all(c < b for c, b in zip(cost, bound, strict=True))]
    if not inside:
        return 0.0
    if len(bound) == 1:  # moocore takes two objectives or more
        return bound[0] - min(inside)[0]
    import moocore

    return float(moocore.hypervolume(inside, ref=bound))


@dataclass(frozen=True)
class Budget:
    """What a variant may cost, and what it must reach.

    Args:
        accuracy: At least this share, [0, 1]; None: any.
        size_mb: At most this, in 1e6 bytes; None: any.
        latency_ms: At most this, in ms of one inference; None: any.
    """

    accuracy: float | None
    size_mb: float | None
    latency_ms: float | None

    def __post_init__(self) -> None:
        if self.accuracy is not None:
            require(0 <= self.accuracy <= 1, "accuracy", "lie in [0, 1]", self.accuracy)
        for name in ("size_mb", "latency_ms"):
            limit = getattr(self, name)
            if limit is not None:
                require(0 < limit < math.inf, name, "be above 0", limit)

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by metric."""
        names = ("accuracy", "size_mb", "latency_ms")
        return {name: limit for name in names if (limit := getattr(self, name)) is not None}

    def misses(self, metrics: Metrics) -> dict[str, float]:
        """Say by how much each limit is missed, in its own unit; 0 and below meets it.

        A limit on what was not measured is left out.
        """
        return {
            name: (limit - metrics[name]) if name == "accuracy" else (metrics[name] - limit)
            for name, limit in self.limits.items()
            if name in metrics
        }

    def complaint(self, metrics: Metrics) -> str:
        """Name each limit that is missed: `size_mb 2.14 for 1`; empty if none is."""
        return ", ".join(
            f"{name} {metrics[name]:.4g} for {self.limits[name]:.4g}"
            for name, miss in self.misses(metrics).items()
            if miss > 0
        )

    def meets(self, metrics: Metrics) -> bool:
        """Tell whether no limit is missed."""
        return all(miss <= 0 for miss in self.misses(metrics).values())

    def nearest(self, points: Sequence[Metrics]) -> int:
        """Find the point whose worst miss, as a share of its limit, is the smallest.

        Args:
            points: At least one.
        """

        def worst(point: Metrics) -> float:
            misses, limits = self.misses(point), self.limits
            return max((miss / (limits[name] or 1) for name, miss in misses.items()), default=0.0)

        return min(range(len(points)), key=lambda index: worst(points[index]))


def _costs(point: Metrics, objectives: Objectives) -> tuple[float, ...]:
    """Turn a point's objectives into numbers that are all to be small."""
    return tuple(
        -point[name] if direction == MAXIMIZE else point[name]
        for name, direction in objectives.items()
    )


def _covers(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))
