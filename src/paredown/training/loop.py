"""The one training loop. A data set stays bytes in memory; a batch is normalized when it is due.

Measured on 2 AVX-512 cores, batch 128, 3x32x32, against a plain contiguous DataLoader loop:
see benchmarks/.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from paredown.dataset import Dataset
from paredown.errors import ConfigError, RunError
from paredown.host import machine
from paredown.model.form import arrange, detach_cached, layout
from paredown.training import Training
from paredown.training.padding import padded_positions
from paredown.training.progress import TrainingProgress
from paredown.training.step import Batch, Loss, label_loss, make_optimizer, take_step

__all__ = ["Batch", "Loss", "Told", "fit", "label_loss", "resolve_device", "resolve_precision"]

log = logging.getLogger(__name__)

T = TypeVar("T")


class Told(Protocol):
    """Training images in views that never change, and what a teacher answered to each."""

    def draw(self, picked: NDArray[np.int64], epoch: int) -> Batch:
        """Give a batch of an epoch, which is counted from 0."""
        ...


def fit(
    training: Training,
    module: nn.Module,
    dataset: Dataset,
    loss: Loss,
    seed: int,
    title: str,
    stop: int | None = None,
    told: Told | None = None,
) -> list[dict[str, float]]:
    """Fit the weights of `module` in place and leave it in eval mode, on the CPU.

    Args:
        training: Epochs, batch size, rates and precision.
        module: The network; changed in place.
        dataset: Its train split is seen, augmented, in an order drawn from `seed`.
        loss: Of logits (N, classes) and the batch.
        seed: Draws order, augmentation and dropout.
        title: For the progress bar and errors.
        stop: Epochs after which to end, before the schedule does; None: go on to its end.
        told: Shows the images in the data set's place, with the teacher's answers.

    Returns:
        One mapping an epoch: mean loss, accuracy on the augmented batches, learning rate.

    Raises:
        RunError: When the loss is no longer finite.
    """
    if training.threads is not None:
        torch.set_num_threads(training.threads)
    torch.manual_seed(seed)
    device = resolve_device(training)
    fast = resolve_precision(training, module) == "bfloat16"
    steps = len(dataset.train) // training.batch_size  # of an epoch; the rest waits its turn
    epochs = training.epochs if stop is None else min(stop, training.epochs)
    optimizer, schedule = make_optimizer(training, module, steps * training.epochs)
    arrange(module.to(device)).train()
    images, classes = layout(module), len(dataset.classes)
    batches = _batches(training, dataset, np.random.default_rng(seed), told)
    batches = _ahead(batches) if dataset.streams else batches
    curves: list[dict[str, float]] = []
    with (
        TrainingProgress(title, training.batch_size, epochs * steps, epochs) as progress,
        padded_positions(module) as padded,
    ):
        for epoch in range(1, epochs + 1):
            total = torch.zeros(2, device=device)  # loss and hits, summed
            for _ in range(steps):
                batch = next(batches).to(device, images)
                found = take_step(module, optimizer, loss, batch, fast, classes, padded)
                _require_finite(found[0], title, "loss", epoch, training)
                rate = float(schedule.get_last_lr()[0])
                schedule.step()
                total += found
                progress.step(found[0].item())
            mean_loss, accuracy = (total / steps).tolist()
            curves.append({"loss": mean_loss, "accuracy": accuracy, "learning_rate": rate})
            progress.epoch(epoch, curves[-1])
    module.to("cpu").eval()
    detach_cached(module)
    for parameter in module.parameters():  # the last step can break what no loss has seen
        _require_finite(parameter.sum(), title, "weights", training.epochs, training)
    if epochs:
        seconds, rate = progress.seconds, progress.rate
        log.info("%s: %d epochs in %.1f s, %.0f images/s", title, epochs, seconds, rate)
    return curves


def _require_finite(value: Tensor, title: str, what: str, epoch: int, training: Training) -> None:
    if not torch.isfinite(value):
        raise RunError(
            f"{title}: the {what} became {value.item()} in epoch {epoch}; "
            f"lower training.learning_rate ({training.learning_rate:g})"
        )


def resolve_precision(training: Training, module: nn.Module) -> str:
    """Name the precision that `auto` means for a network on this CPU.

    bfloat16 pays for dense convolutions (ResNet-18 1.3 times the images/s of float32 on an
    AVX-512 machine) and costs more than half on depthwise ones (MobileNetV2 0.4 times).
    """
    if training.precision != "auto":
        return training.precision
    dense = all(part.groups == 1 for part in module.modules() if isinstance(part, nn.Conv2d))
    return "bfloat16" if dense and machine.multiplies_bf16() else "float32"


def resolve_device(training: Training) -> torch.device:
    """Choose the device that `auto` means here.

    Raises:
        ConfigError: If a GPU is asked for and none is there.
    """
    gpu = torch.cuda.is_available()
    if training.device == "cuda" and not gpu:
        raise ConfigError("training.device must be auto or cpu, got 'cuda'; there is no GPU here")
    return torch.device("cuda" if gpu and training.device != "cpu" else "cpu")


def _batches(
    training: Training, dataset: Dataset, rng: np.random.Generator, told: Told | None
) -> Iterator[Batch]:
    """Yield batches in an order that is drawn anew for each epoch, without end."""
    images, size = len(dataset.train), training.batch_size
    for epoch in count():
        order = rng.permutation(images)
        for start in range(0, images - size + 1, size):
            picked = order[start : start + size]
            if told is not None:
                yield told.draw(picked, epoch)
            else:
                yield Batch(*map(torch.from_numpy, dataset.draw(picked, rng)))


def _ahead(batches: Iterator[T]) -> Iterator[T]:
    """Make the next batch in a thread while this one is learnt from; there is no end."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches)
        while True:
            batch = coming.result()
            coming = thread.submit(next, batches)
            yield batch
