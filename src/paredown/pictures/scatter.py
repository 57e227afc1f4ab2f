"""A panel of points, as plain data."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from paredown.metric import QUALITY, metric_of
from paredown.pictures.labels import Place, sides
from paredown.pictures.scale import Range, position, widen, widen_log
from paredown.pictures.words import BASELINE, DEFAULT, DOMINATED, FAST, FRONT, MISSED, NEAREST, SLOW

SearchSummary = Mapping[str, Any]
"""Content of front.json."""
Row = Mapping[str, Any]
"""One of its trials."""

KINDS = (DOMINATED, MISSED, FAST, SLOW, FRONT, NEAREST)  # as they are drawn, one over the other
LEAST = 0.004  # of room beside the outermost points of a share
READABLE = 40  # labels in a panel
FAILED = 0.5  # of the best accuracy; what has less came to nothing
FAR, LEAST_SPREAD = 6, 0.01  # below the median by so many times what the best is above it
LARGE = 8  # an axis whose largest value is this many times the smallest is logarithmic


@dataclass(frozen=True)
class Scatter:
    """A panel of points: every trial that has both metrics, and marks for those that lack y.

    Args:
        x, y: Names of metrics; x may be `trial`.
        summary: Of the search.
    """

    x: str
    y: str
    summary: SearchSummary

    @property
    def title(self) -> str:
        """Its axes in words."""
        return f"{metric_of(self.y).label} against {metric_of(self.x).label}"

    @cached_property
    def points(self) -> dict[str, list[Row]]:
        """The trials by kind."""
        both: dict[str, list[Row]] = {kind: [] for kind in KINDS}
        left_out = {id(row) for row in self.below}
        for row in self._complete:
            if id(row) not in left_out:
                both[kind_of(row, self.summary)].append(row)
        both[DEFAULT] = [
            row for rows in both.values() for row in rows if row["trial"] == self.summary["default"]
        ]
        baseline = {"metrics": self.summary["baseline"]}
        one = self.summary.get("baselines", 1) < 2  # of several none is that of all trials
        both[BASELINE] = [baseline] if one and self._has_both(baseline) else []
        return {kind: rows for kind, rows in both.items() if rows}

    def _has_both(self, row: Row) -> bool:
        return value(row, self.x) is not None and value(row, self.y) is not None

    @cached_property
    def _complete(self) -> list[Row]:
        """The trials that have both metrics."""
        return [row for row in self.summary["trials"] if self._has_both(row)]

    @cached_property
    def below(self) -> list[Row]:
        """The trials so much less accurate than most that they would compress the axis."""
        if self.y != QUALITY.name or len(self._complete) < 4:
            return []
        accuracies = sorted(self.column(self.y, self._complete))
        best, middle = accuracies[-1], statistics.median(accuracies)
        floor = max(FAILED * best, middle - FAR * max(best - middle, LEAST_SPREAD))
        return [row for row in self._complete if row["metrics"][self.y] < floor]

    def interval(self, name: str, row: Row) -> Range | None:
        """Return the 95 % interval of a metric of a trial; None if it has none."""
        low, high = (value(row, f"{name}_{end}") for end in ("low", "high"))
        return None if low is None or high is None else (low, high)

    @cached_property
    def rug(self) -> list[Row]:
        """The trials that have x alone, since they were not trained."""
        return [
            row
            for row in self.summary["trials"]
            if value(row, self.x) is not None and value(row, self.y) is None
        ]

    @property
    def limits(self) -> dict[str, float]:
        """The budget's limits on x and y."""
        budget = self.summary["budget"]
        return {name: budget[name] for name in (self.x, self.y) if name in budget}

    @cached_property
    def x_log(self) -> bool:
        """Whether x spans so much that its axis is logarithmic."""
        return self._spans_much(self.x)

    @cached_property
    def y_log(self) -> bool:
        """Whether y does."""
        return self._spans_much(self.y)

    @cached_property
    def x_range(self) -> Range:
        """Ends of the x axis, as values."""
        values = list(self._values(self.x))
        return widen_log(values) if self.x_log else widen(values, _least(self.x))

    @cached_property
    def y_range(self) -> Range:
        """Ends of the y axis, with room for the rug below."""
        values = list(self._values(self.y))
        if self.y_log:
            return widen_log(values)
        low, high = widen(values, _least(self.y))
        return (low - 0.06 * (high - low) if self.rug or self.below else low), high

    @property
    def labelled(self) -> list[Row]:
        """The trials that carry their number: the front, or what is nearest to the budget.

        None of a front so long that nobody could read them.
        """
        rows = self.points.get(FRONT) or self.points.get(NEAREST) or []
        return rows if len(rows) <= READABLE else []

    def label_sides(
        self, letter: float, radius: float, room: Place
    ) -> list[tuple[int, int] | None]:
        """Choose on which side of its point each label stands; see `labels.sides`."""
        plain = (self.points.get(kind, []) for kind in (DOMINATED, MISSED, FAST, SLOW, BASELINE))
        points, others = (
            [(x * room[0], y * room[1]) for x, y in map(self._unit, rows)]
            for rows in (self.labelled, [row for rows in plain for row in rows])
        )
        texts = [str(row["trial"]) for row in self.labelled]
        return sides(points, texts, others, letter, radius, room)

    def column(self, name: str, rows: Sequence[Row]) -> list[float]:
        """List a metric of the trials that have it."""
        return [number for row in rows if (number := value(row, name)) is not None]

    def _unit(self, row: Row) -> Place:
        """Place a trial in the panel: (0, 0) is its lower left corner, (1, 1) its upper right."""
        (x,), (y,) = self.column(self.x, [row]), self.column(self.y, [row])
        across = position(x, self.x_range, self.x_log)
        return across, position(y, self.y_range, self.y_log)

    def _spans_much(self, name: str) -> bool:
        values = list(self._values(name))
        is_amount = name != "trial" and not metric_of(name).is_share
        return is_amount and min(values) > 0 and max(values) / min(values) >= LARGE

    def _values(self, name: str) -> Iterator[float]:
        for rows in (*self.points.values(), self.rug, self.below if name == self.x else []):
            yield from self.column(name, rows)
        ends = (self.interval(name, row) for row in self.labelled)
        yield from (end for both in ends if both and name == self.y for end in both)
        yield from (limit for metric, limit in self.limits.items() if metric == name)


def _least(name: str) -> float:
    return LEAST if metric_of(name).is_share else 0


def kind_of(row: Row, summary: SearchSummary) -> str:
    """Return the kind of a trial: on the front, nearest to the budget, over it, or dominated."""
    if "kind" in row:  # set by who built the row
        return str(row["kind"])
    if row["on_front"]:
        return FRONT
    if row["trial"] == summary["nearest"]:
        return NEAREST
    return MISSED if any(miss > 0 for miss in row["misses"].values()) else DOMINATED


def value(row: Row, name: str) -> float | None:
    """Return a metric of a trial in its written unit; None if it is absent or no number."""
    number = row["trial"] if name == "trial" and "trial" in row else row["metrics"].get(name)
    if not isinstance(number, int | float) or not math.isfinite(number):
        return None
    return number / metric_of(name).scale
