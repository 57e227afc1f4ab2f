"""How fast networks are trained: Paredown's loop, a textbook's, and a bare hand-tuned one.

    python benchmarks/throughput.py [rounds]

Fashion-MNIST as 3x32x32, shifted and mirrored, batch 128. The textbook's loop: torchvision's data
set and transforms, a shuffling DataLoader with two workers, float32, contiguous. The bare loop: one
uint8 tensor, channels last, bfloat16 where it pays, the same augmentation, and nothing else: no
progress bar, no curves, no check of the loss. Each round trains every loop for some seconds, one
after the other; ratios are taken within a round. About 8 minutes on two cores.
"""

import gzip
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from bench import keep, planned, setting
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from paredown.dataset import Dataset, Split
from paredown.dataset.fashion_mnist import DEBIAN
from paredown.run.plan import Plan
from paredown.training.loop import fit, resolve_precision

GOALS = {"resnet18": 1.4, "mobilenet_v2": 2.2}
BATCH, STEPS = 128, 40
COUNT = BATCH * STEPS


def shown_as_in_textbooks(folder: Path) -> datasets.FashionMNIST:
    """Give torchvision's data set with torchvision's transforms."""
    shown = transforms.Compose(
        [
            transforms.Resize(32),
            transforms.Grayscale(3),
            transforms.RandomCrop(32, padding=2),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.219,) * 3, (0.3318,) * 3),
        ]
    )
    return datasets.FashionMNIST(str(folder), train=True, transform=shown)


def textbook(module: nn.Module, folder: Path) -> float:
    """Train as a tutorial does; give images a second."""
    some = torch.utils.data.Subset(shown_as_in_textbooks(folder), range(COUNT + BATCH))
    batches = iter(DataLoader(some, BATCH, shuffle=True, num_workers=2, drop_last=True))
    optimizer = optim.AdamW(module.parameters(), lr=0.003)
    module.train()
    next(batches)  # the workers have started
    start = time.perf_counter()
    for pixels, labels in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(module(pixels), labels)
        loss.backward()
        optimizer.step()
    return COUNT / (time.perf_counter() - start)


def bare(module: nn.Module, dataset: Dataset, fast: bool) -> float:
    """Train by hand as fast as these cores do; give images a second."""
    train, rng = dataset.train, np.random.default_rng(0)
    pixels = torch.from_numpy(np.array(train.images[:, :1]))
    padded = F.pad(pixels, (2, 2, 2, 2))
    labels = torch.from_numpy(train.labels)
    optimizer = optim.AdamW(module.parameters(), lr=0.003)
    module.to(memory_format=torch.channels_last).train()
    start = time.perf_counter()
    order = torch.from_numpy(rng.permutation(COUNT))
    for picked in order.split(BATCH):
        top, left = torch.from_numpy(rng.integers(0, 5, (2, len(picked), 1))) + torch.arange(32)
        grey = padded[picked[:, None, None], 0, top[:, :, None], left[:, None, :]][:, None]
        grey = torch.where(torch.rand(len(picked), 1, 1, 1) < 0.5, grey.flip(3), grey)
        images = ((grey.float() / 255 - 0.219) / 0.3318).expand(-1, 3, -1, -1)
        images = images.contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, fast):
            logits = module(images)
        loss = F.cross_entropy(logits.float(), labels[picked])
        loss.backward()
        optimizer.step()
    return COUNT / (time.perf_counter() - start)


def ours(module: nn.Module, dataset: Dataset, parts: Plan) -> float:
    """Train by the loop that every stage calls; give images a second."""
    training = parts.stages["baseline"].training
    assert training is not None
    once = replace(training, epochs=1, batch_size=BATCH)
    start = time.perf_counter()
    fit(once, module, dataset, lambda logits, batch: F.cross_entropy(logits, batch.labels), 0, "")
    return COUNT / (time.perf_counter() - start)


def unpacked(folder: Path) -> None:
    """Lay the files out as torchvision reads them."""
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in DEBIAN.glob("*.gz"):
        with gzip.open(packed) as source, (raw / packed.stem).open("wb") as target:
            shutil.copyfileobj(source, target)


def main() -> None:
    """Print and keep images a second and the ratios."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    about = setting("torch", "torchvision")
    found = {}
    with tempfile.TemporaryDirectory() as name:
        unpacked(Path(name))
        for model, goal in GOALS.items():
            parts = planned("dataset=fashion_mnist", f"model={model}")
            whole = parts.load()
            some = Split(whole.train.images[:COUNT], whole.train.labels[:COUNT])
            dataset = replace(whole, train=some)
            training = parts.stages["baseline"].training
            assert training is not None

            def build(parts: Plan = parts) -> nn.Module:
                torch.manual_seed(0)
                source = parts.stages["baseline"].source
                assert source is not None
                return source.build(10, (3, 32, 32))

            fast = resolve_precision(training, build()) == "bfloat16"
            loops: dict[str, Callable[[], float]] = {
                "textbook": lambda build=build: textbook(build(), Path(name)),
                "bare": lambda build=build, d=dataset, fast=fast: bare(build(), d, fast),
                "paredown": lambda build=build, d=dataset, p=parts: ours(build(), d, p),
            }
            rates: dict[str, list[float]] = {each: [] for each in loops}
            for _ in range(rounds):
                for each, loop in loops.items():
                    rates[each].append(loop())
            row: dict[str, object] = {"images_per_s": rates, "goal": goal}
            for each in ("textbook", "bare"):
                pairs = zip(rates["paredown"], rates[each], strict=True)
                ratios = [own / other for own, other in pairs]
                row[f"against_{each}"] = ratios
                print(
                    f"{model}: {statistics.median(rates['paredown']):.0f} images/s, {each} "
                    f"{statistics.median(rates[each]):.0f}: {statistics.median(ratios):.2f} times "
                    f"({min(ratios):.2f} to {max(ratios):.2f})",
                    flush=True,
                )
            found[model] = row
    keep("throughput", {**about, "seed": 0, "batch": BATCH, "rounds": rounds}, found)


if __name__ == "__main__":
    main()
