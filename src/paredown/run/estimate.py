"""The cost of the file at the end of a path: known in seconds, before anything is trained."""

import tempfile
from dataclasses import replace
from pathlib import Path

from paredown.budget import Budget
from paredown.dataset import Dataset
from paredown.measure import footprint
from paredown.measure.latency import time_side_by_side
from paredown.run.plan import Plan
from paredown.variant import Variant


def estimate_cost(plan: Plan, dataset: Dataset, budget: Budget) -> dict[str, float]:
    """Lower the last variant with untrained weights, and measure the cost of its shape.

    Bytes and speed do not depend on the values of weights, so this is the cost of the trained file:
    its bytes up to a few (ranges are written in text and may take another digit), its latency as
    near as two timings are.

    Returns:
        size_mb, params and macs; latency_ms and latency_ms_p95 if the budget limits latency.
    """
    variant = _untrained(plan, dataset)
    with tempfile.TemporaryDirectory(prefix="paredown-") as name:
        folder = Path(name)
        plan.runtime.lower(variant, dataset, folder)
        cost: dict[str, float] = {
            "size_mb": footprint.size_mb(folder),
            "params": footprint.params(variant.module),
            "macs": footprint.macs(variant.module, dataset.input_shape),
        }
        if budget.latency_ms is not None:
            programs, timing = [(plan.runtime, folder)], plan.timing.brief()
            (latency,) = time_side_by_side(programs, dataset.example, timing)
            cost |= {"latency_ms": latency.latency_ms, "latency_ms_p95": latency.latency_ms_p95}
    return cost


def _untrained(plan: Plan, dataset: Dataset) -> Variant:
    """Apply the stages from the last one that builds a network, without training."""
    from paredown.model.form import fill_vectors

    stages = list(plan.stages.values())
    first = max(index for index, stage in enumerate(stages) if stage.source is not None)
    variant: Variant | None = None
    for stage in stages[first:]:
        variant = stage(variant, plan.context(dataset, "untrained"))
        fill_vectors(variant.module)
    assert variant is not None
    if variant.numerics is None:
        return variant
    # a range takes as many bytes from one image as from many
    return replace(
        variant, numerics=replace(variant.numerics, calibration_images=1, range="minmax")
    )
