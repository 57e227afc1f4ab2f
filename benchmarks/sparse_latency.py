"""What zeros are worth where they stay: bytes, packed bytes and latency of four kinds of pruning.

    python benchmarks/sparse_latency.py [repeats]

Prunes an untrained ResNet-18 at amount 0.5 (2:4 has half by its pattern), without recovery (weights
do not matter for time), and times all files side by side in ONNX Runtime, `repeats` times (3).
About 3 minutes on two cores. Must hold: structured at most 0.6 of the unpruned latency, the
others within 10 % of it; exit code 1 if not.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from bench import planned, setting, walk

from paredown.measure.latency import Lowered, time_side_by_side
from paredown.run.path import VariantPath
from paredown.store.local import Store

KINDS = ("structured", "masked", "unstructured", "semi_structured")


def lower(folder: Path, kind: str) -> tuple[VariantPath, Lowered, Lowered]:
    """Lower a network, and what pruning makes of it, as a run does after no training."""
    parts = planned("technique=prune", f"prune={kind}", "training.epochs=0", "prune.epochs=0")
    path = walk(parts, Store(folder))
    return path, (parts.runtime, path.shipped(0)), (parts.runtime, path.shipped(1))


def main() -> None:
    """Print a row a kind, and check what must hold."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    setting()
    print(f"ResNet-18, seed 0, amount 0.5, one thread, {repeats} repeats of 3 processes each")
    timing = planned("measure.processes=3").timing
    with tempfile.TemporaryDirectory() as folder:
        made = {kind: lower(Path(folder), kind) for kind in KINDS}
        programs = [made[KINDS[0]][1], *(pruned for _, _, pruned in made.values())]
        image = made[KINDS[0]][0].image
        found = [time_side_by_side(programs, image, timing) for _ in range(repeats)]
        rows = [(made[KINDS[0]][0].measured(0), "unpruned")]
        rows += [(path.measured(1), kind) for kind, (path, _, _) in made.items()]
    print("| kind | zeros | MB | packed MB | ms, median | latency against unpruned (min to max) |")
    print("|---|---|---|---|---|---|")
    shares = {}
    for at, (measured, kind) in enumerate(rows):
        ratios = [1 / each[at].speedup for each in found]
        shares[kind] = statistics.median(ratios)
        print(
            f"| {kind} | {measured['zeros']:.1%} | {measured['size_mb']:.2f} "
            f"| {measured['compressed_mb']:.2f} "
            f"| {statistics.median(each[at].latency_ms for each in found):.3f} "
            f"| {shares[kind]:.3f} ({min(ratios):.3f} to {max(ratios):.3f}) |"
        )
    holds = shares["structured"] <= 0.6
    holds &= all(abs(shares[kind] - 1) <= 0.1 for kind in KINDS[1:])
    print("holds" if holds else "does not hold")
    raise SystemExit(0 if holds else 1)


if __name__ == "__main__":
    main()
