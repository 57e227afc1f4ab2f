"""Images/s of training while other work keeps the host busy, and what helps.

    python benchmarks/busy.py                       alone, beside one and four busy processes
    python benchmarks/busy.py --beside 0 8 --repeats 7 --model mobilenet_v2

Each figure is a fresh process that takes some steps; settings take turns, so that a machine that
drifts hurts all alike. A fair share is cores / (busy processes + 1), at most 1, of the pace alone.
Every process also tells a checksum of its weights: settings must not change a bit.
"""

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETTINGS = {
    "as it was": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spin 1,000": {"GOMP_SPINCOUNT": "1000"},
    "spin 3,000": {"GOMP_SPINCOUNT": "3000"},
}
SPIN = "while True: pass"


def train(model: str, steps: int, threads: int | None) -> None:
    """Take some steps, and print images/s and a checksum of the weights."""
    sys.path.insert(0, str(ROOT / "src"))
    import numpy as np
    import torch

    from paredown.dataset import Dataset, Split
    from paredown.model.torchvision import Torchvision
    from paredown.training import Training
    from paredown.training.loop import fit
    from paredown.training.step import label_loss

    batch = 128
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch * steps, 3, 32, 32), dtype=np.uint8)
    split = Split(images, rng.integers(0, 10, len(images)))
    classes = tuple(map(str, range(10)))
    dataset = Dataset("noise", split, split, split, classes, (0.5,) * 3, (0.25,) * 3)
    training = Training(1, batch, 1e-3, 0.01, 0.0, "cosine", "float32", "cpu", threads)
    torch.manual_seed(0)
    module = Torchvision(model).build(10, (3, 32, 32))
    fit(training, module, dataset, label_loss(0.0), 0, "warm", stop=0)
    start = time.perf_counter()
    fit(training, module, dataset, label_loss(0.0), 0, "baseline")
    pace = len(images) / (time.perf_counter() - start)
    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    print(pace, digest.hexdigest()[:12])


def measure(own: list[str], setting: dict[str, str], beside: int) -> tuple[float, str]:
    """Train in a fresh process beside busy ones; return images/s and the checksum."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    others = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(beside)]
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--train", *own],
            env={**plain, **setting},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        for other in others:
            other.kill()
        for other in others:
            other.wait()
    pace, checksum = done.stdout.split()[-2:]
    return float(pace), checksum


def main() -> None:
    """Measure every setting beside every number of busy processes, in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beside", type=int, nargs="+", default=[0, 1, 4])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.train:
        train(asked.model, asked.steps, asked.threads)
        return
    own = ["--model", asked.model, "--steps", str(asked.steps)]
    own += [] if asked.threads is None else ["--threads", str(asked.threads)]
    paces: dict[tuple[int, str], list[float]] = {}
    sums = set()
    for _, beside, name in product(range(asked.repeats), asked.beside, SETTINGS):
        pace, checksum = measure(own, SETTINGS[name], beside)
        paces.setdefault((beside, name), []).append(pace)
        sums.add(checksum)
    cores = len(os.sched_getaffinity(0))
    print(f"{asked.model}, {cores} cores, {asked.repeats} repeats; checksums: {sums}")
    for (beside, name), found in sorted(paces.items()):
        alone = statistics.median(paces.get((0, name), [float("nan")]))
        fair = alone * min(1.0, cores / (beside + 1))
        middle = statistics.median(found)
        print(
            f"beside {beside}  {name:12} {middle:7.1f} images/s  [{min(found):.1f}, "
            f"{max(found):.1f}]  {middle / fair:.2f} of the fair share"
        )


if __name__ == "__main__":
    main()
