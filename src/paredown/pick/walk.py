"""The walk: from the most accurate down, to the first that meets the budget."""

from collections.abc import Sequence
from dataclasses import dataclass

from paredown.budget import Budget
from paredown.front import Metrics
from paredown.metric import QUALITY, limited_costs

ROUNDING = 1e-9  # accuracies are quotients; 0.99 - 0.98 is a little more than 0.01


@dataclass(frozen=True)
class Walk:
    """The order in which points are visited, and where the walk ends.

    Args:
        order: Indices of the points: most accurate first; of equals the smaller, then the faster.
        misses: Per point: by how much each limit is missed; 0 and below meets it.
        first: The first in order that meets the budget; None: nothing does.
        chosen: The cheapest of those that meet it and count as equal to the first.
        relaxations: If nothing meets it, per limit: the point that needs the smallest relaxation
            of that limit alone; absent where no point meets all others.
        nearest: If nothing meets it: the point whose worst miss, as a share of its limit, is the
            smallest.
    """

    order: list[int]
    misses: list[dict[str, float]]
    first: int | None
    chosen: int | None
    relaxations: dict[str, int]
    nearest: int | None


def walk(points: Sequence[Metrics], budget: Budget, tolerance: float = 0.0) -> Walk:
    """Choose the first point that meets the budget, or the cheapest of its equals.

    A point equals the first when its accuracy is within the tolerance of the first's and their
    intervals overlap. All are compared with that one point and never with each other, so that
    equality needs no chain: the chosen one is as good as the best that the budget allows. The
    cheapest is the smallest, then the fastest, then the most accurate.

    Args:
        points: With accuracy, its 95 % interval accuracy_low and accuracy_high, size_mb, and
            latency_ms, infinite where it cannot be compared.
        budget: With at least one limit.
        tolerance: Share of accuracy, [0, 1).
    """

    def cost(index: int) -> tuple[float, ...]:
        return tuple(metric.cost(points[index][metric.name]) for metric in limited_costs())

    indices = range(len(points))
    order = sorted(indices, key=lambda index: (-points[index][QUALITY.name], *cost(index), index))
    misses = [budget.misses(point) for point in points]
    inside = [index for index in order if all(miss <= 0 for miss in misses[index].values())]
    if not inside:
        nearest = budget.nearest(points) if points else None
        return Walk(order, misses, None, None, _relaxations(order, misses, budget), nearest)
    first = inside[0]
    equals = [index for index in inside if equal(points[index], points[first], tolerance)]
    return Walk(order, misses, first, min(equals, key=cost), {}, None)


def equal(point: Metrics, best: Metrics, tolerance: float) -> bool:
    """Check whether a point counts as equal to a more accurate one, by tolerance and intervals."""
    near = best[QUALITY.name] - point[QUALITY.name] <= tolerance + ROUNDING
    return near and point[f"{QUALITY.name}_high"] >= best[f"{QUALITY.name}_low"]


def _relaxations(
    order: Sequence[int], misses: Sequence[dict[str, float]], budget: Budget
) -> dict[str, int]:
    """Return per limit the first point in order with the smallest miss of that limit alone."""
    relaxations = {}
    for limit in budget.limits:
        others = [
            index
            for index in order
            if all(miss <= 0 for name, miss in misses[index].items() if name != limit)
        ]
        if others:
            relaxations[limit] = min(others, key=lambda index: misses[index][limit])
    return relaxations
