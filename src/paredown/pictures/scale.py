"""The scale of an axis."""

import math
from collections.abc import Sequence

Range = tuple[float, float]
"""The lowest and the highest value of an axis."""


def ticks(ends: Range) -> list[float]:
    """Return round values along a logarithmic axis, and a decade more on either side."""
    low, high = map(math.log10, ends)
    finer = (1, 2, 5) if high - low > 1.2 else (1, 1.5, 2, 3, 5, 7)
    steps = (1,) if high - low > 3.5 else finer
    decades = range(math.floor(low) - 1, math.ceil(high) + 2)
    return [float(f"{step}e{decade}") for decade in decades for step in steps]


def widen(values: Sequence[float], least: float) -> Range:
    """Return the ends of an axis with at least `least` of room beside the values."""
    low, high = min(values), max(values)
    room = max(0.1 * (high - low), least) or 0.05 * abs(high) or 0.5
    return low - room, high + room


def widen_log(values: Sequence[float]) -> Range:
    """Return the ends of a logarithmic axis with room beside the values."""
    low, high = min(values), max(values)
    room = (high / low) ** 0.07
    return low / room, high * room


def position(value: float, ends: Range, log: bool) -> float:
    """Return the position of a value along an axis; 0 and 1 are its ends."""
    low, high = ends
    if log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)
