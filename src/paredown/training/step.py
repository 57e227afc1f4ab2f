"""One training step: its batch, its loss and the optimizer."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F
from torch.optim import Optimizer

from paredown.errors import RunError
from paredown.training import Training
from paredown.training.padding import small_maps_in_float32


class Batch(NamedTuple):
    """The data of one step.

    Args:
        images: Normalized, (N, C, H, W).
        labels: (N,), or the share of each class, (N, classes), where the data set blends images.
        teacher_logits: (N, classes), where they are stored.
    """

    images: Tensor
    labels: Tensor
    teacher_logits: Tensor | None = None

    def to(self, device: torch.device, layout: torch.memory_format) -> "Batch":
        """Move the batch to a device, with its images in a memory format."""
        images = self.images.contiguous(memory_format=layout).to(device)
        logits = None if self.teacher_logits is None else self.teacher_logits.to(device)
        return Batch(images, self.labels.to(device), logits)


Loss = Callable[[Tensor, Batch], Tensor]
"""(logits, batch) -> one number to minimize."""


def label_loss(smoothing: float) -> Loss:
    """Return the cross-entropy of labels of which a share, [0, 1), is spread over all classes."""

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(logits, batch.labels, label_smoothing=smoothing)

    return loss


def logits_of(output: Any, count: int, classes: int) -> Tensor:
    """Return the logits among a network's outputs in training mode.

    Some return more than in eval mode, such as (logits, auxiliary logits), in a sequence or a
    mapping. The first value of shape (count, classes) is trained; without one, RunError is raised.
    """
    if isinstance(output, Tensor):
        return output
    values: Iterable[Any] = output.values() if isinstance(output, Mapping) else ()
    values = output if isinstance(output, tuple | list) else values
    for value in values:
        if isinstance(value, Tensor) and value.shape == (count, classes):
            return value
    kind = type(output).__name__
    raise RunError(f"the network answers with a {kind} in training, and no logits are in it")


def take_step(
    module: nn.Module, optimizer: Optimizer, loss: Loss, batch: Batch, fast: bool, classes: int
) -> Tensor:
    """Take one optimizer step, with bfloat16 autocast if `fast`; return loss and accuracy, (2,)."""
    device = batch.images.device.type
    with torch.autocast(device, torch.bfloat16, fast), small_maps_in_float32(module):
        logits = logits_of(module(batch.images), len(batch.images), classes)
        value = loss(logits.float(), batch)
    optimizer.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    labels = batch.labels if batch.labels.ndim == 1 else batch.labels.argmax(dim=1)
    accuracy = (logits.argmax(dim=1) == labels).float().mean()
    return torch.stack([value.detach(), accuracy])


def make_optimizer(
    training: Training, module: nn.Module, steps: int
) -> tuple[Optimizer, optim.lr_scheduler.LRScheduler]:
    """Return AdamW and its schedule over `steps` steps."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [  # biases and batch norms are not decayed
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": training.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = optim.AdamW(groups, lr=training.learning_rate, fused=True)  # a third of the time
    steps = max(steps, 1)  # the schedules refuse 0, which 0 epochs have
    if training.schedule == "one_cycle":
        return optimizer, optim.lr_scheduler.OneCycleLR(optimizer, training.learning_rate, steps)
    return optimizer, optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
