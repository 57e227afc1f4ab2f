"""Peak memory of an epoch over an image folder, streamed and decoded once, by number of images.

python benchmarks/image_folder.py            a minute or two on two cores; 20,000 JPEG images
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 10
EPOCH = """
import json, resource, sys, time
import torch
from torch.nn import functional as F
from paredown.dataset.image_folder import ImageFolder
from paredown.model.cnn4 import Cnn4
from paredown.training import Training
from paredown.training.loop import fit

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def loss(logits, batch):
    return F.cross_entropy(logits, batch.labels)

asked = json.loads(sys.argv[1])
source = ImageFolder(**asked)
before, start = peak(), time.perf_counter()
data = source.load()
loaded = time.perf_counter() - start
training = Training(1, 64, 0.003, 0.01, 0.0, "one_cycle", "float32", "cpu", 2)
network = Cnn4(8, "cnn4").build(len(data.classes), data.input_shape)
start = time.perf_counter()
curve = fit(training, network, data, loss, 0, "epoch")[-1]
seconds = time.perf_counter() - start
print(json.dumps({
    "train": len(data.train), "before_mb": round(before), "peak_mb": round(peak()),
    "look_s": round(loaded, 1), "epoch_s": round(seconds, 1),
    "images_s": round(len(data.train) / seconds), "accuracy": round(curve["accuracy"], 3),
}))
"""


def paint(folder: Path, count: int, size: int) -> None:
    """Write JPEG images of noise in a class's own color, of sizes and shapes of their own."""

    def one(at: int) -> None:
        rng = np.random.default_rng(at)
        height, width = rng.integers(size // 2, size * 3 // 2, 2)
        color = np.random.default_rng(at % CLASSES).integers(0, 256, 3)
        coarse = np.clip(color + rng.normal(0, 60, (8, 8, 3)), 0, 255).astype(np.uint8)
        place = folder / f"class{at % CLASSES}"
        image = Image.fromarray(coarse).resize((int(width), int(height)))
        image.save(place / f"{at:06}.jpg", quality=85)

    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, range(count)))


def epoch(folder: Path, cache: Path, cache_mb: float) -> dict[str, float]:
    """Fit a small network for one epoch in a fresh process; give its peak memory."""
    asked = {
        "name": "image_folder", "folder": str(folder), "train": "train", "val": "val",
        "test": "test", "val_share": 0.1, "test_share": 0.1, "split_seed": 0, "size": 64,
        "center": None, "area": 1.0, "cache": str(cache), "cache_mb": cache_mb, "workers": None,
        "max_broken": 0.01, "crop": 4, "flip": True, "mixup": 0.0,
    }  # fmt: skip
    command = [sys.executable, "-c", EPOCH, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--size", type=int, default=128, help="of the files, about, in pixels")
    asked = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Pillow {Image.__version__}")
    with tempfile.TemporaryDirectory(prefix="paredown-images-") as scratch:
        for count in asked.counts:
            folder = Path(scratch) / str(count)
            start = time.perf_counter()
            paint(folder, count, asked.size)
            size = sum(file.stat().st_size for file in folder.rglob("*.jpg")) / 1e6
            print(f"{count} images, {size:.0f} MB, made in {time.perf_counter() - start:.0f} s")
            for name, cache_mb in (("streamed", 0.0), ("decoded once", 1e5)):
                found = epoch(folder, Path(scratch) / "cache", cache_mb)
                print(f"  {name:13} " + "  ".join(f"{key} {found[key]}" for key in found))


if __name__ == "__main__":
    main()
