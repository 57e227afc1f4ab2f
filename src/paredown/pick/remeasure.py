"""Take latency again, here, of what meets every other limit."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from math import inf

from paredown.budget import Budget
from paredown.measure.latency import time_side_by_side
from paredown.pick.candidates import Candidate
from paredown.pick.walk import equal, walk
from paredown.tracking.restore import RunRestorer

log = logging.getLogger(__name__)

BATCH = 16  # variants timed side by side; 0.6 s each


def remeasure(
    candidates: Sequence[Candidate], budget: Budget, tolerance: float, bench: RunRestorer
) -> list[Candidate]:
    """Time the short list in turn, the most accurate first, until what wins is known.

    Args:
        candidates: All; no latency that they were logged with counts any more.
        budget: Its other limits make the short list.
        tolerance: As of the walk.
        bench: Fetches the files.

    Returns:
        The candidates in their order, those that were timed with their new latency.
    """
    others = replace(budget, latency_ms=None)
    found = [_untimed(candidate) for candidate in candidates]
    order = walk([candidate.figures for candidate in found], others).order
    short = iter([index for index in order if others.meets(found[index].figures)])
    while batch := list(islice(short, BATCH)):
        first = walk([candidate.figures for candidate in found], budget, tolerance).first
        if first is not None and not equal(
            found[batch[0]].figures, found[first].figures, tolerance
        ):
            break
        log.info("timing %d variants side by side", len(batch))
        parts = [bench.parts(found[index].run) for index in batch]
        programs = [
            (part.runtime, bench.program(found[index]))
            for part, index in zip(parts, batch, strict=True)
        ]
        image = parts[0].dataset.normalize(parts[0].dataset.val.images[:1])
        timed = time_side_by_side(programs, image, parts[0].timing)
        for index, latency in zip(batch, timed, strict=True):
            found[index] = found[index].timed(latency.latency_ms)
    return found


def _untimed(candidate: Candidate) -> Candidate:
    return replace(candidate, figures={**candidate.figures, "latency_ms": inf}, comparable=False)
