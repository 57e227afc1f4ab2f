"""What the multiple that kept channels are rounded to costs and gains in latency.

    python benchmarks/round_to.py [repeats]

Prunes an untrained ResNet-18 and MobileNetV2 at amounts 0.5 and 0.6 (weights do not matter for
time) with round_to 1, 4, 8, 16 and 32, and times all five files and the unpruned one side by side,
`repeats` times (3). At 0.5 a ResNet's widths are multiples of 32 whatever is asked, at 0.6 none of
them is. About 5 minutes on two cores. The default of prune.round_to follows from it.
"""

import itertools
import statistics
import sys
import tempfile
from pathlib import Path

from bench import planned, setting, walk

from paredown.measure.latency import Lowered, time_side_by_side
from paredown.run.path import VariantPath
from paredown.store.local import Store

MODELS, AMOUNTS, ROUNDS = ("resnet18", "mobilenet_v2"), (0.5, 0.6), (1, 4, 8, 16, 32)


def lower(
    folder: Path, model: str, amount: float, round_to: int
) -> tuple[VariantPath, Lowered, Lowered]:
    """Lower a network, and what pruning leaves of it, as a run does after no training."""
    untrained = (f"model={model}", "technique=prune", "training.epochs=0", "prune.epochs=0")
    parts = planned(*untrained, f"prune.amount={amount}", f"prune.round_to={round_to}")
    path = walk(parts, Store(folder))
    return path, (parts.runtime, path.shipped(0)), (parts.runtime, path.shipped(1))


def main() -> None:
    """Print a table a network."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    setting()
    print(f"seed 0, one thread, {repeats} repeats of 3 processes each")
    timing = planned("measure.processes=3").timing
    for model, amount in itertools.product(MODELS, AMOUNTS):
        with tempfile.TemporaryDirectory() as folder:
            made = [lower(Path(folder), model, amount, round_to) for round_to in ROUNDS]
            programs = [made[0][1], *(pruned for _, _, pruned in made)]
            found = [
                time_side_by_side(programs, made[0][0].dataset.example, timing)
                for _ in range(repeats)
            ]
            unpruned = statistics.median(each[0].latency_ms for each in found)
            print(f"\n{model}, amount {amount}: unpruned {unpruned:.3f} ms")
            print("| round_to | params | MMACs | ms, median | speed-up, median (min to max) |")
            print("|---|---|---|---|---|")
            for at, (round_to, (path, _, _)) in enumerate(zip(ROUNDS, made, strict=True), start=1):
                measured = path.measured(1)
                ratios = [each[at].speedup for each in found]
                print(
                    f"| {round_to} | {measured['params']:,} | {measured['macs'] / 1e6:.2f} "
                    f"| {statistics.median(each[at].latency_ms for each in found):.3f} "
                    f"| {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
