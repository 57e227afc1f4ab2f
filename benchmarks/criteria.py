"""Whether it matters which channels go: L2 against Taylor against random, with their spread.

    python benchmarks/criteria.py [images] [dataset]

ResNet-18 on Fashion-MNIST (digits where it is not installed), `images` training images (12,000),
seeds 0, 1 and 2; a teacher of 3 epochs, pruned one shot at four amounts, recovered for 1 epoch.
Accuracy on the validation split, of the file that ships. About 20 minutes on two cores.
"""

import sys
import tempfile
import time
from pathlib import Path

from bench import ROOT, planned, setting, spread, walk

from paredown.store.local import Store

SEEDS, AMOUNTS, CRITERIA = (0, 1, 2), (0.1, 0.3, 0.5, 0.7), ("l2", "taylor", "random")


def accuracies(
    folder: Path, data: list[str], seed: int, criterion: str, amount: float
) -> list[float]:
    """Give the accuracy of the teacher and of what is left of it."""
    short = ("technique=prune", f"seed={seed}", "training.epochs=3", "prune.epochs=1")
    asked = f"prune/criterion={criterion}", f"prune.amount={amount}"
    path = walk(planned(*data, *short, *asked), Store(folder))
    return [path.measured(index)["accuracy"] for index in (0, 1)]


def main() -> None:
    """Print a row an amount and criterion."""
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 12_000
    known = (ROOT / "conf" / "dataset" / "fashion_mnist.yaml").is_file()
    name = sys.argv[2] if len(sys.argv) > 2 else "fashion_mnist" if known else "digits"
    data = [f"dataset={name}"]
    if name != "digits":
        data.append(f"dataset.train_images={images}")
    setting()
    print(f"ResNet-18, {' '.join(data)}, seeds {SEEDS}, teacher 3 epochs, recovery 1", flush=True)
    start = time.monotonic()
    teachers: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        print("| amount | criterion | accuracy by seed, % | mean, % [95 %, Student's t] |")
        print("|---|---|---|---|")
        for amount in AMOUNTS:
            for criterion in CRITERIA:
                found = []
                for seed in SEEDS:
                    teachers[seed], accuracy = accuracies(
                        Path(folder), data, seed, criterion, amount
                    )
                    found.append(accuracy)
                mean, low, high = spread([100 * value for value in found])
                each = ", ".join(f"{100 * value:.2f}" for value in found)
                told = f"{mean:.2f} [{low:.2f}, {high:.2f}]"
                print(f"| {amount} | {criterion} | {each} | {told} |", flush=True)
    told = ", ".join(f"{100 * value:.2f}" for value in teachers.values())
    print(f"teachers: {told} %; {time.monotonic() - start:.0f} s in all")


if __name__ == "__main__":
    main()
