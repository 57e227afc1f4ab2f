"""The training loop.

It is our own rather than a DataLoader's or a trainer library's for three reasons. The data set
stays bytes in memory and is augmented and normalized per batch, which is faster on a few cores
(benchmarks/throughput.py compares the two). One seed draws order, augmentation and dropout, so a
training yields the same bits each time, and stopped early it yields those of the full schedule, as
rewinding needs. And a batch can carry a teacher's stored logits for exactly the view it shows.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from paredown.dataset import Dataset
from paredown.errors import ConfigError, RunError
from paredown.host import machine
from paredown.model.form import arrange, detach_cached, layout
from paredown.training import Training
from paredown.training.progress import TrainingProgress
from paredown.training.step import Batch, Loss, make_optimizer, take_step


class BatchSource(Protocol):
    """Training images in fixed views, with a teacher's logits for each."""

    def draw(self, indices: NDArray[np.int64], epoch: int) -> Batch:
        """Return a batch of training images for an epoch, counted from 0."""


def fit(
    training: Training,
    module: nn.Module,
    dataset: Dataset,
    loss: Loss,
    seed: int,
    title: str,
    stop: int | None = None,
    source: BatchSource | None = None,
) -> list[dict[str, float]]:
    """Fit the weights of `module` in place and leave it in eval mode, on the CPU.

    `seed` draws order, augmentation and dropout; `stop` ends training after so many epochs, before
    its schedule; `source` replaces the train split. Return loss, accuracy and rate of each epoch.
    """
    if training.threads is not None:
        torch.set_num_threads(training.threads)
    torch.manual_seed(seed)
    device = resolve_device(training)
    fast = resolve_precision(training, module) == "bfloat16"
    steps = len(dataset.train) // training.batch_size  # per epoch; a smaller last batch is dropped
    epochs = training.epochs if stop is None else min(stop, training.epochs)
    optimizer, schedule = make_optimizer(training, module, steps * training.epochs)
    memory_format, classes = layout(arrange(module.to(device)).train()), len(dataset.classes)
    batches = _batches(training, dataset, np.random.default_rng(seed), source)
    batches = _prefetched(batches) if dataset.streams else batches
    curves: list[dict[str, float]] = []
    with TrainingProgress(title, training.batch_size, epochs * steps, epochs) as progress:
        for epoch in range(1, epochs + 1):
            total = torch.zeros(2, device=device)  # loss and accuracy
            for batch in islice(batches, steps):
                rate = float(schedule.get_last_lr()[0])
                batch = batch.to(device, memory_format)
                result = take_step(module, optimizer, loss, batch, fast, classes)
                _require_finite(result[0], title, "loss", epoch, training)
                schedule.step()
                total += result
                progress.step(result[0].item())
            mean_loss, accuracy = (total / steps).tolist()
            curves.append({"loss": mean_loss, "accuracy": accuracy, "learning_rate": rate})
            progress.epoch(epoch, curves[-1])
    detach_cached(module.to("cpu").eval())
    for parameter in module.parameters():  # no loss has seen the last step's update
        _require_finite(parameter.sum(), title, "weights", training.epochs, training)
    if epochs:
        progress.summarize()
    return curves


def _require_finite(value: Tensor, title: str, name: str, epoch: int, training: Training) -> None:
    if not torch.isfinite(value):
        raise RunError(
            f"{title}: the {name} became {value.item()} in epoch {epoch}; "
            f"lower training.learning_rate ({training.learning_rate:g})"
        )


def resolve_precision(training: Training, module: nn.Module) -> str:
    """Return the precision that `auto` stands for, by network and CPU.

    bfloat16 pays for dense convolutions (ResNet-18 1.3 times the images/s of float32 on an
    AVX-512 machine) and costs more than half on depthwise ones (MobileNetV2 0.4 times).
    """
    if training.precision != "auto":
        return training.precision
    dense = all(layer.groups == 1 for layer in module.modules() if isinstance(layer, nn.Conv2d))
    return "bfloat16" if dense and machine.multiplies_bf16() else "float32"


def resolve_device(training: Training) -> torch.device:
    """Return the device that `auto` stands for; raise ConfigError if a GPU is missing."""
    gpu = torch.cuda.is_available()
    if training.device == "cuda" and not gpu:
        raise ConfigError("training.device must be auto or cpu, got 'cuda'; there is no GPU here")
    return torch.device("cuda" if gpu and training.device != "cpu" else "cpu")


def _batches(
    training: Training, dataset: Dataset, rng: np.random.Generator, source: BatchSource | None
) -> Iterator[Batch]:
    """Yield batches without end, in an order drawn anew for each epoch."""
    images, size = len(dataset.train), training.batch_size
    for epoch in count():
        order = rng.permutation(images)
        for start in range(0, images - size + 1, size):
            indices = order[start : start + size]
            if source is not None:
                yield source.draw(indices, epoch)
            else:
                yield Batch(*map(torch.from_numpy, dataset.draw(indices, rng)))


def _prefetched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Prepare the next batch in a thread while the current one is trained on."""
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(next, batches)
        while True:
            batch = future.result()
            future = thread.submit(next, batches)
            yield batch
