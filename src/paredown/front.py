"""The Pareto front of variants, and its hypervolume."""

from collections.abc import Mapping, Sequence

from paredown.metric import MAXIMIZE

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


def _costs(point: Metrics, objectives: Objectives) -> tuple[float, ...]:
    """Turn a point's objectives into numbers that are all to be small."""
    return tuple(
        -point[name] if direction == MAXIMIZE else point[name]
        for name, direction in objectives.items()
    )


def _covers(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))
