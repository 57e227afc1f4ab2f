"""What the file at the end of a path costs: known in seconds, before anything is trained."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from paredown.budget import Budget
from paredown.dataset import Dataset
from paredown.measure import footprint
from paredown.measure.latency import time_side_by_side
from paredown.run.plan import Plan
from paredown.variant import Variant

if TYPE_CHECKING:
    from torch import nn


def estimate_cost(parts: Plan, dataset: Dataset, budget: Budget) -> dict[str, float]:
    """Lower the last variant with untrained weights, and measure what its shape decides.

    Bytes and speed do not depend on what the weights are, so this is what the trained file will
    have: its bytes to a few (ranges are written in text and may take another digit), its latency
    as near as two timings are.

    Returns:
        size_mb, params and macs; latency_ms and latency_ms_p95 if the budget limits latency.
    """
    variant = _untrained(parts, dataset)
    with tempfile.TemporaryDirectory(prefix="paredown-") as name:
        folder = Path(name)
        parts.runtime.lower(variant, dataset, folder)
        found: dict[str, float] = {
            "size_mb": footprint.size_mb(folder),
            "params": footprint.params(variant.module),
            "macs": footprint.macs(variant.module, dataset.input_shape),
        }
        if budget.latency_ms is not None:
            image = dataset.example
            program = (parts.runtime, folder)
            (latency,) = time_side_by_side([program], image, parts.timing.brief())
            found["latency_ms"] = latency.latency_ms
            found["latency_ms_p95"] = latency.latency_ms_p95
    return found


def _untrained(parts: Plan, dataset: Dataset) -> Variant:
    """Apply the stages from the last one that builds a network, with weights as they come."""
    stages = list(parts.stages.values())
    first = max(at for at, stage in enumerate(stages) if stage.source is not None)
    variant: Variant | None = None
    for stage in stages[first:]:
        variant = stage(variant, parts.context(dataset, "untrained"))
        _fill(variant.module)
    assert variant is not None
    if variant.numerics is not None:  # a range is as many bytes from one image as from many
        brief = replace(variant.numerics, calibration_images=1, range="minmax")
        variant = replace(variant, numerics=brief)
    return variant


def _fill(module: "nn.Module") -> None:
    """Give biases and batch norms numbers: an exporter leaves out a bias that is all zeros."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5)
