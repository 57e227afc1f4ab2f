"""One step of training: what it learns from, and how the weights move."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn, optim
from torch.nn import functional

from paredown.errors import RunError
from paredown.training import Training
from paredown.training.padding import Masks, zero_gradients


class Batch(NamedTuple):
    """What one step learns from.

    Args:
        images: Normalized, (N, C, H, W).
        labels: (N,), or the share of each class, (N, classes), where the data set blends images.
        told: The teacher's logits for these images, (N, classes), where they were kept.
    """

    images: Tensor
    labels: Tensor
    told: Tensor | None = None

    def to(self, device: torch.device, layout: torch.memory_format) -> "Batch":
        """Move it, with its images in a network's layout."""
        images = self.images.contiguous(memory_format=layout).to(device)
        told = None if self.told is None else self.told.to(device)
        return Batch(images, self.labels.to(device), told)


Loss = Callable[[Tensor, Batch], Tensor]
"""(logits, batch) -> one number to minimize."""


def label_loss(smoothing: float) -> Loss:
    """Bind the labels alone into a loss for `fit`: cross-entropy.

    Args:
        smoothing: Share of a label that goes to all classes, [0, 1).
    """

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return functional.cross_entropy(logits, batch.labels, label_smoothing=smoothing)

    return loss


def logits_of(answer: Any, count: int, classes: int) -> Tensor:
    """Take the logits out of what a network answers in training.

    Some answer with more than in use, as (logits, those of an auxiliary head): nothing but the
    logits is learnt from.

    Args:
        answer: The logits, or a sequence or mapping of which they are the first that fits.
        count: Of images.
        classes: Width of the logits.

    Raises:
        RunError: If there are no logits in it.
    """
    if isinstance(answer, Tensor):
        return answer
    parts: Iterable[Any] = answer.values() if isinstance(answer, Mapping) else ()
    parts = answer if isinstance(answer, tuple | list) else parts
    for part in parts:
        if isinstance(part, Tensor) and part.shape == (count, classes):
            return part
    kind = type(answer).__name__
    raise RunError(f"the network answers with a {kind} in training, and no logits are in it")


def take_step(
    module: nn.Module,
    optimizer: optim.Optimizer,
    loss: Loss,
    batch: Batch,
    fast: bool,
    classes: int,
    padded: Masks,
) -> Tensor:
    """Take a step.

    Args:
        module: In training mode, on the device of the batch.
        optimizer: Of its weights.
        loss: Of its logits and the batch.
        batch: In its layout.
        fast: Whether it multiplies in bfloat16.
        classes: Width of the logits.
        padded: Positions of kernels whose gradients are zero, whatever the backward pass gives.

    Returns:
        The loss and the share of images that were named rightly, (2,).
    """
    with torch.autocast(batch.images.device.type, torch.bfloat16, fast):
        logits = logits_of(module(batch.images), len(batch.images), classes)
        value = loss(logits.float(), batch)
    optimizer.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    zero_gradients(padded)
    optimizer.step()
    named = batch.labels if batch.labels.ndim == 1 else batch.labels.argmax(dim=1)
    hits = (logits.argmax(dim=1) == named).float().mean()
    return torch.stack([value.detach(), hits])


def make_optimizer(
    training: Training, module: nn.Module, steps: int
) -> tuple[optim.Optimizer, optim.lr_scheduler.LRScheduler]:
    """Make AdamW and its schedule over `steps` steps."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    decay = training.weight_decay
    groups = [  # biases and batch norms are not pulled to zero
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = optim.AdamW(groups, lr=training.learning_rate, fused=True)  # a third of the time
    steps = max(steps, 1)  # no epochs, no steps; the schedules want one
    if training.schedule == "one_cycle":
        return optimizer, optim.lr_scheduler.OneCycleLR(optimizer, training.learning_rate, steps)
    return optimizer, optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
