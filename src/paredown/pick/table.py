"""The walk as a table, and the relaxations that would help where nothing fits."""

from collections.abc import Iterator, Sequence
from math import ceil, floor, isinf, log10

from paredown.budget import Budget
from paredown.metric import MAXIMIZE, Metric, limited_metrics, metric_of
from paredown.pick.candidates import Candidate
from paredown.pick.walk import Walk
from paredown.report.fitted import Column, Fitted

ENDS = 8  # rows shown at the start, and before and after each that matters
ELSEWHERE = (
    "* timed on another CPU, in another runtime or with other threads: not comparable; "
    "pick.remeasure=true times it here"
)


def walk_table(candidates: Sequence[Candidate], walk: Walk, budget: Budget) -> Fitted:
    """Lay out the walk, one row per variant, most accurate first, with the choice marked."""
    runs = len({candidate.run.id for candidate in candidates})
    title = f"{len(candidates):,} variants of {runs:,} run{'s'[: runs > 1]}, most accurate first"
    metrics = limited_metrics()
    rows = [
        ["", f"… {len(place):,} more", *[""] * (len(metrics) + 2)]
        if isinstance(place, range)
        else _row(candidates, walk, walk.order[place])
        for place in _visible(walk)
    ]
    marked = [index for index, row in enumerate(rows) if row[0]]
    mark, run, stage, *figures, misses = map(list, zip(*rows, strict=True))
    columns = [
        Column("", mark, number=False),
        Column("run", run, number=False),
        Column("stage", stage, number=False),
        *(_column(metric, cells, budget) for metric, cells in zip(metrics, figures, strict=True)),
        Column("misses by", misses, 1, number=False),
    ]
    elsewhere = any(not candidate.comparable for candidate in candidates)
    return Fitted(title, columns, [ELSEWHERE] if elsewhere else [], marked[0] if marked else -1)


def _column(metric: Metric, cells: Sequence[str], budget: Budget) -> Column:
    """Lay out a metric, headed by its limit; where room is short, without its interval."""
    limit = budget.limits.get(metric.name)
    title = metric.column if limit is None else f"{metric.column} {metric.sign} {limit:g}"
    if not any("[" in cell for cell in cells):
        return Column(title, cells, metric.rank if limit is None else 0)
    short = Column(title, [cell.partition(" ")[0] for cell in cells])
    return Column(title.replace(metric.column, f"{metric.column} [95 %]"), cells, 3, short)


def _row(candidates: Sequence[Candidate], walk: Walk, index: int) -> list[str]:
    candidate = candidates[index]
    return [
        "►" if index == walk.chosen else "",
        candidate.run.name,
        candidate.run.title(candidate.stage),
        *(_cell(metric, candidate) for metric in limited_metrics()),
        write_misses(walk.misses[index]) or _outcome(walk, index),
    ]


def _cell(metric: Metric, candidate: Candidate) -> str:
    if isinf(candidate.figures[metric.name]):
        return f"{metric.write(candidate.logged_ms)}*"
    return metric.cell(candidate.figures)


def write_misses(misses: dict[str, float]) -> str:
    """Write by how much each limit is missed; empty if none is."""
    return ", ".join(
        "ms not comparable" if isinf(miss) else metric_of(name).write_difference(miss)
        for name, miss in misses.items()
        if miss > 0
    )


def _outcome(walk: Walk, index: int) -> str:
    """Describe a variant that meets every limit."""
    if index != walk.chosen:
        return "nothing: the first" if index == walk.first else "nothing"
    return "nothing: picked" + ("" if index == walk.first else ", cheaper than its equal")


def _visible(walk: Walk) -> Iterator[int | range]:
    """Yield the positions in the order that are shown, and the ranges that are left out."""
    count = len(walk.order)
    marked = {walk.first, walk.chosen, walk.nearest, *walk.relaxations.values()} - {None}
    centers = {0, *(place for place, index in enumerate(walk.order) if index in marked)}
    near = {place for center in centers for place in range(center - ENDS, center + ENDS)}
    last = -1
    for place in sorted(near & set(range(count))):
        if place > last + 1:
            yield range(last + 1, place)
        yield place
        last = place
    if last + 1 < count:
        yield range(last + 1, count)


def relaxation_lines(candidates: Sequence[Candidate], walk: Walk, budget: Budget) -> list[str]:
    """Write the relaxations that let a variant in: of each limit alone, and of all together."""
    lines = []
    for name in budget.limits:
        relaxed = "no value of it is enough"
        if name in walk.relaxations:
            relaxed = _relaxed(candidates[walk.relaxations[name]], [name])
        lines.append(f"budget.{name} alone: {relaxed}")
    if len(lines) > 1 and walk.nearest is not None:
        nearest = candidates[walk.nearest]
        missed = [name for name, miss in budget.misses(nearest.figures).items() if miss > 0]
        lines.append(f"nearest: {_relaxed(nearest, missed)}")
    return lines


def _relaxed(candidate: Candidate, names: Sequence[str]) -> str:
    """Write the limits that would let a variant in, rounded so that they do."""
    overrides = []
    for name in names:
        value = candidate.figures[name]
        if isinf(value):
            return f"{candidate.title} was timed elsewhere; pick.remeasure=true times it here"
        step = 10.0 ** (floor(log10(value)) - 3) if value else 1.0
        round_to = floor if metric_of(name).direction == MAXIMIZE else ceil
        overrides.append(f"budget.{name}={round_to(value / step) * step:.4g}")
    return f"{' '.join(overrides)} would take {candidate.title}"
