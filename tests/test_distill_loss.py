import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from paredown.distill.loss import distillation_loss, teacher_loss
from paredown.training import Training
from paredown.training.loop import Batch

STUDENT = [[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]]
TEACHER = [[2.0, 1.0, 0.0], [0.5, 0.5, 2.0]]
LABELS = [1, 2]


def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    student, teacher = (torch.tensor(rows, dtype=torch.float64) for rows in (STUDENT, TEACHER))
    return student, teacher, torch.tensor(LABELS)


def softmax(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def by_hand(temperature: float, alpha: float) -> float:
    soft = hard = 0.0
    for student, teacher, label in zip(STUDENT, TEACHER, LABELS, strict=True):
        p, q = softmax(teacher, temperature), softmax(student, temperature)
        soft += sum(pi * math.log(pi / qi) for pi, qi in zip(p, q, strict=True)) / len(LABELS)
        hard -= math.log(softmax(student, 1)[label]) / len(LABELS)
    return alpha * temperature**2 * soft + (1 - alpha) * hard


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_loss_is_the_formula_worked_out_by_hand(temperature: float, alpha: float) -> None:
    loss = distillation_loss(*tensors(), temperature, alpha)
    assert loss.item() == pytest.approx(by_hand(temperature, alpha), rel=1e-12)


def test_alpha_0_is_cross_entropy_whatever_the_teacher_says() -> None:
    student, teacher, labels = tensors()
    loss = distillation_loss(student, teacher, labels, 7.0, 0.0, label_smoothing=0.1)
    assert torch.equal(loss, F.cross_entropy(student, labels, label_smoothing=0.1))


def test_a_student_that_answers_like_its_teacher_loses_nothing_at_alpha_1() -> None:
    _, teacher, labels = tensors()
    assert distillation_loss(teacher, teacher, labels, 4.0, 1.0).item() == pytest.approx(0)


def test_labels_do_not_matter_at_alpha_1() -> None:
    student, teacher, labels = tensors()
    first, second = (
        distillation_loss(student, teacher, at, 4.0, 1.0) for at in (labels, 1 - labels % 2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("temperature", [100.0, 1000.0])
def test_a_hot_gradient_keeps_its_size_and_matches_centered_logits(temperature: float) -> None:
    student, teacher, labels = tensors()
    student.requires_grad_()
    distillation_loss(student, teacher, labels, temperature, 1.0).backward()
    centered = (logits - logits.mean(dim=1, keepdim=True) for logits in (student, teacher))
    own, wanted = centered
    expected = (own - wanted).detach() / student.numel()  # Hinton et al. 2015, equation 4
    assert torch.allclose(student.grad, expected, atol=3 / temperature)
    assert student.grad.norm() == pytest.approx(expected.norm().item(), rel=0.05)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)
    )


def test_a_teacher_teaches_in_eval_mode_and_is_left_as_it_was(training: Training) -> None:
    torch.manual_seed(0)
    teacher, student = network().train(), network().train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    images, labels = torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 2, 0])
    bound = teacher_loss(teacher, 4.0, 0.5, training)
    bound(student(images), Batch(images, labels)).backward()
    assert all(parameter.grad is not None for parameter in student.parameters())
    assert not any(parameter.grad is not None for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in teacher.parameters())
    # in train mode the batch norm's running mean would have moved, and dropout would differ
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    logits = torch.randn(4, 3)
    assert bound(logits, Batch(images, labels)) == bound(logits, Batch(images, labels))


@pytest.mark.parametrize(("precision", "near"), [("float32", 1e-6), ("bfloat16", 0.02)])
def test_a_bound_teacher_answers_for_the_images_it_is_given(
    training: Training, precision: str, near: float
) -> None:
    torch.manual_seed(0)
    teacher = network().eval()
    images, labels = torch.randn(4, 3, 2, 2), torch.tensor([0, 1, 2, 0])
    logits = torch.randn(4, 3)
    expected = distillation_loss(logits, teacher(images), labels, 3.0, 0.7, 0.1)
    asked = replace(training, precision=precision, label_smoothing=0.1)
    found = teacher_loss(teacher, 3.0, 0.7, asked)(logits, Batch(images, labels))
    assert found.item() == pytest.approx(expected.item(), rel=near)
    assert (found.item() == pytest.approx(expected.item(), rel=1e-6)) == (precision == "float32")


def test_shares_of_classes_weigh_the_losses_of_their_labels() -> None:
    """What training on blended images leans on: the loss is linear in the labels."""
    student, teacher, first = tensors()
    second, share = torch.tensor([0, 1]), 0.3
    sure = [F.one_hot(labels, 3).double() for labels in (first, second)]
    mixed = share * sure[0] + (1 - share) * sure[1]
    one, other, both = (
        distillation_loss(student, teacher, labels, 4.0, 0.7, 0.1)
        for labels in (first, second, mixed)
    )
    assert both.item() == pytest.approx(share * one.item() + (1 - share) * other.item(), rel=1e-12)
