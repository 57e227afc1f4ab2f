"""What a student minimizes: the teacher's softened answers and the labels, weighed."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paredown.model.form import arrange, layout
from paredown.training import Training
from paredown.training.loop import Batch, Loss, label_loss, resolve_precision
from paredown.variant import Context


def distillation_loss(
    logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float,
    alpha: float,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Weigh the teacher's softened answers against the labels.

    alpha * T^2 * KL(softmax(teacher / T) || softmax(student / T)) + (1 - alpha) * CE(student)

    with the divergence summed over classes and averaged over the batch ("batchmean"), and T^2
    so that its gradient keeps its size when T grows.

    Source: Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015,
    arXiv 1503.02531.

    Args:
        logits: The student's, (N, classes).
        teacher_logits: (N, classes).
        labels: (N,), or the share of each class, (N, classes).
        temperature: T above, > 0; softens both answers.
        alpha: Weight of the teacher's term, [0, 1].
        label_smoothing: Of the labels' term, [0, 1).
    """
    soft = F.kl_div(
        F.log_softmax(logits / temperature, dim=1),
        F.log_softmax(teacher_logits / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    hard = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    return alpha * temperature**2 * soft + (1 - alpha) * hard


def learn(
    context: Context,
    training: Training,
    module: nn.Module,
    temperature: float,
    alpha: float,
    views: int | None,
) -> Sequence[Mapping[str, float]]:
    """Fit the weights of `module` in place by the teacher's answers and the labels.

    Args:
        context: Has the teacher.
        training: How they are fitted.
        module: Maps (N, C, H, W) to logits (N, classes).
        temperature: As in `distillation_loss`, and so is the next.
        alpha: Weight of the teacher's term.
        views: Ways to show each image, whose answers are given once and kept; None: every image
            is augmented afresh each time, and the teacher answers to that.

    Returns:
        What training logged.
    """
    if alpha == 0 and views is None:  # nobody's answer would count
        return context.fit(training, module, label_loss(training.label_smoothing))
    if views is None or not context.trains:
        loss = teacher_loss(context.teacher(), temperature, alpha, training)
        return context.fit(training, module, loss)
    assert context.answers is not None
    told = context.answers(views, training)
    return context.fit(training, module, told_loss(temperature, alpha, training), told)


def told_loss(temperature: float, alpha: float, training: Training) -> Loss:
    """Bind the two numbers into a loss for `training.loop.fit`, of batches that hold answers."""

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        assert batch.told is not None
        smoothing = training.label_smoothing
        return distillation_loss(logits, batch.told, batch.labels, temperature, alpha, smoothing)

    return loss


def teacher_loss(teacher: nn.Module, temperature: float, alpha: float, training: Training) -> Loss:
    """Bind a teacher, frozen and in eval mode, into a loss for `training.loop.fit`.

    It answers in the precision that it would be trained in, whatever the student's is: ResNet-18
    takes 51 ms for 128 images in bfloat16 and 87 in float32, on two cores with AVX-512.

    Args:
        teacher: Maps (N, C, H, W) to logits (N, classes).
        temperature: As in `distillation_loss`, and so is the next.
        alpha: Weight of the teacher's term.
        training: Smooths the labels, and names the precision.
    """
    frozen = copy.deepcopy(teacher).eval().requires_grad_(False)  # the caller's stays on the CPU
    images = layout(arrange(frozen))
    fast = resolve_precision(training, frozen) == "bfloat16"

    given = told_loss(temperature, alpha, training)

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        device = batch.images.device
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, fast):
            shown = batch.images.contiguous(memory_format=images)  # the student's may be another
            told = frozen.to(device)(shown).float()
        return given(logits, batch._replace(told=told))

    return loss
