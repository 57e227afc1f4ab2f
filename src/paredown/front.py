"""The Pareto front of variants, and its hypervolume."""

from collections.abc import Mapping, Sequence

from paredown.metric import MAXIMIZE

Metrics = Mapping[str, float]
Objectives = Mapping[str, str]
"""Metric name -> maximize or minimize."""


def front(points: Sequence[Metrics], objectives: Objectives) -> list[int]:
    """List the points that no other point dominates, in order; of equal points the first.

    A point dominates another when it is nowhere worse and somewhere better.

    Returns:
        Indices into `points`.
    """
    if not points:
        return []
    import moocore

    costs = [_costs(point, objectives) for point in points]
    keep = moocore.is_nondominated(costs, keep_weakly=False)
    return [index for index, is_on_front in enumerate(keep) if is_on_front]


def hypervolume(points: Sequence[Metrics], objectives: Objectives, reference: Metrics) -> float:
    """Compute the space that the points dominate, up to a reference point.

    A point that is not better than the reference in every objective adds nothing.

    Source: Fonseca, Paquete and Lopez-Ibanez, An improved dimension-sweep algorithm for the
    hypervolume indicator, CEC 2006; as in moocore.

    The reference is the worst value per objective; keep it fixed to compare.
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
    """Return the objectives of a point as numbers to be minimized."""
    return tuple(
        -point[name] if direction == MAXIMIZE else point[name]
        for name, direction in objectives.items()
    )
