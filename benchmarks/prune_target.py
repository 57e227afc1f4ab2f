"""How near a target is met: parameters, MACs, bytes and latency of ResNet-18, asked by half.

    python benchmarks/prune_target.py [repeats]

Prunes an untrained ResNet-18 to 50 % of each quantity without recovery (weights do not matter),
and prints what was asked and what was reached; latency `repeats` times (5), since a clock is not
steady. About 3 minutes on two cores. Goals: within 3 % or one width, latency within 10 %.
"""

import sys
import tempfile
from pathlib import Path

from hydra import compose, initialize_config_dir

from paredown import machine
from paredown.costs import METRICS
from paredown.path import VariantPath
from paredown.plan import plan
from paredown.store import Store

ROOT = Path(__file__).parents[1]


def reach(metric: str, folder: Path) -> dict[str, float]:
    """Prune to half of what the network has of a metric."""
    overrides = [
        "technique=prune", "training.epochs=0", "prune.epochs=0", "prune.amount=null",
        f"prune.target.{metric}=50%",
    ]  # fmt: skip
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        parts = plan(compose("config", overrides=overrides))
    path = VariantPath(parts.stages, parts.load(), parts.runtime, Store(folder), parts.seed)
    return path.facts(1)


def main() -> None:
    """Print a row a metric and repeat."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"{machine.cpu_name()}; {machine.versions('onnxruntime', 'torch', 'torch-pruning')}")
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
