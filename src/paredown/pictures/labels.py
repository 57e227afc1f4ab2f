"""Placement of labels beside their points, so that they cover neither points nor each other."""

from collections.abc import Sequence

GAP = 0.4  # of a letter's height between two numbers, which else read as one
Place = tuple[float, float]
"""x and y, in the unit of the letters."""
Box = tuple[float, float, float, float]
"""Left, low, right, high."""

SIDES = ((1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
"""Right (1) or left (-1), above (1) or below (-1); the first that is free is taken.

The corners first: an interval is drawn along the other four.
"""


def sides(
    points: Sequence[Place],
    texts: Sequence[str],
    others: Sequence[Place],
    letter: float,
    radius: float,
    room: Place,
) -> list[tuple[int, int] | None]:
    """Choose a side for each label, in turn: the first that covers the least.

    A label that would overlap an earlier one on every side is left out: None. The panel has a
    width and height of `room`, and begins at (0, 0); other points have no label.
    """
    taken: list[Box] = [
        (x - radius, y - radius, x + radius, y + radius) for x, y in (*points, *others)
    ]
    chosen: list[tuple[int, int] | None] = []
    labels: list[Box] = []
    for point, text in zip(points, texts, strict=True):
        boxes = {side: box(point, text, side, letter, radius) for side in SIDES}
        covered = {side: _cost(boxes[side], taken, room) for side in SIDES}
        free = [side for side in SIDES if not any(_overlap(boxes[side], one) for one in labels)]
        if not free:
            chosen.append(None)
            continue
        best = min(free, key=lambda side: covered[side])
        taken.append(boxes[best])
        left, low, right, high = boxes[best]
        labels.append((left - GAP * letter, low, right + GAP * letter, high))
        chosen.append(best)
    return chosen


def box(point: Place, text: str, side: tuple[int, int], letter: float, radius: float) -> Box:
    """Return the space that a label takes on one side of its point."""
    width, height = 0.62 * letter * len(text), letter
    x = point[0] + side[0] * (1.3 * radius + width / 2)
    y = point[1] + side[1] * (1.3 * radius + height / 2)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _cost(wanted: Box, taken: Sequence[Box], room: Place) -> float:
    """Return the area of a label that lies on something else or, four times, outside the panel."""
    size = (wanted[2] - wanted[0]) * (wanted[3] - wanted[1])
    outside = size - _overlap(wanted, (0, 0, *room))
    return 4 * outside + sum(_overlap(wanted, other) for other in taken)


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)
