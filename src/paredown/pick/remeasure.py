"""Measures latency again, on this machine, of the candidates that meet every other limit."""

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
    candidates: Sequence[Candidate], budget: Budget, tolerance: float, restorer: RunRestorer
) -> list[Candidate]:
    """Time the short list, the most accurate first, until the winner is certain.

    The budget's other limits make the short list; logged latencies no longer count.

    Returns:
        The candidates in their order, the timed ones with their new latency.
    """
    others = replace(budget, latency_ms=None)
    results = [
        replace(one, figures={**one.figures, "latency_ms": inf}, comparable=False)
        for one in candidates
    ]
    order = walk([candidate.figures for candidate in results], others).order
    short_list = iter([index for index in order if others.meets(results[index].figures)])
    while batch := list(islice(short_list, BATCH)):
        first = walk([candidate.figures for candidate in results], budget, tolerance).first
        if first is not None and not equal(
            results[batch[0]].figures, results[first].figures, tolerance
        ):
            break
        log.info("timing %d variants side by side", len(batch))
        parts = [restorer.parts(results[index].run) for index in batch]
        programs = [
            (part.runtime, restorer.program(results[index]))
            for part, index in zip(parts, batch, strict=True)
        ]
        image = parts[0].dataset.example
        latencies = time_side_by_side(programs, image, parts[0].timing)
        for index, latency in zip(batch, latencies, strict=True):
            results[index] = results[index].timed(latency.latency_ms)
    return results
