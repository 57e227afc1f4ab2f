"""The walk as a table, and what would have to give where nothing fits."""

from collections.abc import Iterator, Sequence
from math import ceil, floor, isinf, log10

from paredown.budget import Budget
from paredown.metric import MAXIMIZE, METRICS, Metric, metric_of
from paredown.pick.candidates import Candidate
from paredown.pick.walk import Walk
from paredown.report.fitted import Column, Fitted

LIMITED = [metric for metric in METRICS if metric.limited]
ENDS = 8  # rows shown at the start, and before and after each that matters
ELSEWHERE = (
    "* timed on another CPU, in another runtime or with other threads: not comparable; "
    "pick.remeasure=true times it here"
)


def walk_table(candidates: Sequence[Candidate], found: Walk, budget: Budget) -> Fitted:
    """Lay out the walk: a row a variant in order of accuracy, what it misses, the choice marked.

    Args:
        candidates: As they were walked.
        found: The walk over their figures.
        budget: Its limits head the columns.
    """
    runs = len({candidate.run.id for candidate in candidates})
    title = f"{len(candidates):,} variants of {runs:,} run{'s'[: runs > 1]}, most accurate first"
    places = list(_shown(found))
    rows = [
        ["", f"… {len(at):,} more", *[""] * 5]
        if isinstance(at, range)
        else _row(candidates, found, found.order[at])
        for at in places
    ]
    chosen = [at for at, row in enumerate(rows) if row[0]]
    mark, run, stage, *figures, misses = map(list, zip(*rows, strict=True))
    columns = [
        Column("", mark, number=False),
        Column("run", run, number=False),
        Column("stage", stage, number=False),
        *(_figures(metric, cells, budget) for metric, cells in zip(LIMITED, figures, strict=True)),
        Column("misses by", misses, 1, number=False),
    ]
    elsewhere = any(not candidate.comparable for candidate in candidates)
    return Fitted(title, columns, [ELSEWHERE] if elsewhere else [], chosen[0] if chosen else -1)


def _figures(metric: Metric, cells: Sequence[str], budget: Budget) -> Column:
    """Lay out a metric, headed by its limit; where room is short, without its interval."""
    limit = budget.limits.get(metric.name)
    title = metric.column if limit is None else f"{metric.column} {metric.sign} {limit:g}"
    if not any("[" in cell for cell in cells):
        return Column(title, cells, metric.rank if limit is None else 0)
    short = Column(title, [cell.partition(" ")[0] for cell in cells])
    return Column(title.replace(metric.column, f"{metric.column} [95 %]"), cells, 3, short)


def _row(candidates: Sequence[Candidate], found: Walk, index: int) -> list[str]:
    candidate = candidates[index]
    return [
        "►" if index == found.chosen else "",
        candidate.run.name,
        candidate.run.title(candidate.stage),
        *(_cell(metric, candidate) for metric in LIMITED),
        say_misses(found.misses[index]) or _why(found, index),
    ]


def _cell(metric: Metric, candidate: Candidate) -> str:
    if isinf(candidate.figures[metric.name]):
        return f"{metric.write(candidate.logged_ms)}*"
    return metric.cell(candidate.figures)


def say_misses(misses: dict[str, float]) -> str:
    """Tell by how much each limit is missed; empty if none is."""
    told = []
    for name, miss in misses.items():
        if isinf(miss):
            told.append("ms not comparable")
        elif miss > 0:
            told.append(metric_of(name).write_difference(miss))
    return ", ".join(told)


def _why(found: Walk, index: int) -> str:
    """Say what became of a variant that misses nothing."""
    if index == found.chosen:
        return (
            "nothing: picked" if index == found.first else "nothing: picked, cheaper than its equal"
        )
    return "nothing: the first" if index == found.first else "nothing"


def _shown(found: Walk) -> Iterator[int | range]:
    """Choose positions in the order to show, and ranges to leave out."""
    count = len(found.order)
    marked = {found.first, found.chosen, found.nearest, *found.gives.values()} - {None}
    near = {0, *(at for at, index in enumerate(found.order) if index in marked)}
    kept = sorted(
        {at for mark in near for at in range(mark - ENDS, mark + ENDS) if 0 <= at < count}
    )
    last = -1
    for at in kept:
        if at > last + 1:
            yield range(last + 1, at)
        yield at
        last = at
    if last + 1 < count:
        yield range(last + 1, count)


def say_gives(candidates: Sequence[Candidate], found: Walk, budget: Budget) -> list[str]:
    """Tell what would have to give: each limit alone, and all together.

    Args:
        candidates: As they were walked; nothing meets the budget.
        found: The walk.
        budget: The limits.
    """
    lines = []
    for name in budget.limits:
        index = found.gives.get(name)
        if index is None:
            lines.append(f"budget.{name} alone: no value of it is enough")
        else:
            lines.append(f"budget.{name} alone: {_say_loosened(candidates[index], budget, [name])}")
    if len(lines) > 1 and found.nearest is not None:
        near = candidates[found.nearest]
        missed = [name for name, miss in budget.misses(near.figures).items() if miss > 0]
        lines.append(f"nearest: {_say_loosened(near, budget, missed)}")
    return lines


def _say_loosened(candidate: Candidate, budget: Budget, names: Sequence[str]) -> str:
    """Name the limits that would let a variant in, rounded so that they do."""
    told = []
    for name in names:
        value = candidate.figures[name]
        if isinf(value):
            return f"{candidate.title} was timed elsewhere; pick.remeasure=true times it here"
        step = 10.0 ** (floor(log10(value)) - 3) if value else 1.0
        round_to = floor if metric_of(name).direction == MAXIMIZE else ceil
        told.append(f"budget.{name}={round_to(value / step) * step:.4g}")
    return f"{' '.join(told)} would take {candidate.title}"
