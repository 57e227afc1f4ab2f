"""How much the speed-up of one fixed file varies from one measurement to the next.

    python benchmarks/speedup_spread.py [repeats]

Lowers an untrained ResNet-18, and a MobileNetV2 pruned by half in int8 (weights do not matter for
time), then measures the speed-up `repeats` times (5), first on the machine as it is, then with one
other process busy. Goal: a coefficient of variation of at most 5 % with one process busy.
"""

import multiprocessing
import statistics
import sys
import tempfile
from pathlib import Path

from bench import planned, setting, walk

from paredown.measure.latency import Latency, Lowered, time_side_by_side
from paredown.store.local import Store


def lower(folder: Path) -> tuple[list[Lowered], object, object]:
    """Lower the two files as a run does, after no training at all."""
    parts = planned("training.epochs=0", "prune.epochs=0")
    path = walk(parts, Store(folder))
    ends = (0, len(path.names) - 1)
    return (
        [(parts.runtime, path.shipped(index)) for index in ends],
        path.dataset.example,
        parts.timing,
    )


def spin() -> None:
    """Keep one core busy."""
    while True:
        pass


def report(title: str, found: list[Latency]) -> None:
    """Print medians and spread."""
    ratios = [latency.speedup for latency in found]
    variation = statistics.stdev(ratios) / statistics.mean(ratios)
    print(f"{title}: speed-up {', '.join(f'{ratio:.2f}' for ratio in ratios)}; ", end="")
    print(f"median {statistics.median(ratios):.2f}, CV {variation:.1%}", flush=True)


def main() -> None:
    """Measure quiet, then with a busy neighbour."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    setting()
    with tempfile.TemporaryDirectory() as folder:
        programs, image, timing = lower(Path(folder))
        for title, busy in (("as it is", 0), ("one process busy", 1)):
            others = [multiprocessing.Process(target=spin, daemon=True) for _ in range(busy)]
            for other in others:
                other.start()
            found = [time_side_by_side(programs, image, timing)[1] for _ in range(repeats)]
            for other in others:
                other.terminate()
            report(title, found)


if __name__ == "__main__":
    main()
