"""How near a target is met: parameters, MACs, bytes and latency of ResNet-18, asked by half.

    python benchmarks/prune_target.py [repeats]

Prunes an untrained ResNet-18 to 50 % of each quantity without recovery (weights do not matter),
and prints what was asked and what was reached; latency `repeats` times (5), since a clock is not
steady. About 10 minutes on two cores. Goals: within 3 % or one width, latency within 10 %.
"""

import sys
import tempfile
from pathlib import Path

from bench import planned, setting, walk

from paredown.measure.meter import METRICS
from paredown.store.local import Store


def reach(metric: str, folder: Path) -> dict[str, float]:
    """Prune to half of what the network has of a metric."""
    untrained = ("technique=prune", "training.epochs=0", "prune.epochs=0")
    parts = planned(*untrained, "prune.amount=null", f"prune.target.{metric}=50%")
    return walk(parts, Store(folder)).facts(1)


def main() -> None:
    """Print a row a metric and repeat."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    setting()
    print("| metric | asked | reached | reached / asked | amount |")
    print("|---|---|---|---|---|")
    for metric in METRICS:
        for _ in range(repeats if metric == "latency_ms" else 1):
            with tempfile.TemporaryDirectory() as folder:
                facts = reach(metric, Path(folder))
            asked, reached = facts[f"target_{metric}"], facts[f"reached_{metric}"]
            print(
                f"| {metric} | {asked:.6g} | {reached:.6g} | {reached / asked:.3f} "
                f"| {facts['amount']:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
