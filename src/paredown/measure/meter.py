"""What a network costs as the files that ship, whatever its weights are."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paredown.dataset import Dataset
from paredown.measure import footprint
from paredown.measure.latency import Timing, time_side_by_side
from paredown.runtime import Runtime
from paredown.variant import CostFn, Variant

METRICS = ("params", "macs", "size_mb", "latency_ms")
TIMING = Timing(processes=8, rounds=10, turn_ms=3)
"""A minute or two of bisection. Where a network comes to fit a cache, processes differ by 20 %."""


@contextmanager
def cost_meter(
    runtime: Runtime, dataset: Dataset, reference: Variant, metric: str
) -> Iterator[CostFn]:
    """Yield a function that measures variants' cost in one metric, in float32.

    The metric is one of METRICS. Latency is timed alongside the reference, whose milliseconds are
    measured once, so that slow drift of the machine affects every variant alike.
    """
    counts = {
        "params": lambda variant: footprint.params(variant.module),
        "macs": lambda variant: footprint.macs(variant.module, dataset.input_shape),
    }
    if metric in counts:
        yield counts[metric]
        return
    with tempfile.TemporaryDirectory(prefix="paredown-") as name:
        lowered: dict[int, Path] = {}
        variants: list[Variant] = []  # alive, so that no two get the same id

        def lower(variant: Variant) -> Path:
            if id(variant.module) not in lowered:
                folder = Path(name) / str(len(variants))
                folder.mkdir()
                runtime.lower(variant, dataset, folder)
                lowered[id(variant.module)] = folder
                variants.append(variant)
            return lowered[id(variant.module)]

        def size_mb(variant: Variant) -> float:
            return footprint.size_mb(lower(variant))

        reference_ms: list[float] = []

        def latency_ms(variant: Variant) -> float:
            if variant is reference and reference_ms:
                return reference_ms[0]
            programs = [(runtime, lower(reference)), (runtime, lower(variant))]
            own, other = time_side_by_side(programs, dataset.example, TIMING)
            reference_ms.append(own.latency_ms)
            return own.latency_ms if variant is reference else reference_ms[0] / other.speedup

        yield size_mb if metric == "size_mb" else latency_ms
