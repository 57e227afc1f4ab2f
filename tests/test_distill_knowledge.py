import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from paredown.dataset import Dataset
from paredown.distill.knowledge import Knowledge
from paredown.errors import ConfigError
from paredown.model.cnn4 import Cnn4
from paredown.training import Training
from paredown.variant import Context

STUDENT = Cnn4(width=4, name="small")


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_that_softens_nothing_is_refused(
    training: Training, temperature: float
) -> None:
    with pytest.raises(ConfigError, match=r"^temperature must be above 0, got"):
        Knowledge(STUDENT, training, temperature, 0.5, None)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
def test_an_alpha_outside_0_to_1_is_refused(training: Training, alpha: float) -> None:
    with pytest.raises(ConfigError, match=r"^alpha must lie in \[0, 1\]"):
        Knowledge(STUDENT, training, 4.0, alpha, None)


def test_a_student_that_trains_nothing_owes_nothing_to_its_teacher(
    training: Training, few: Dataset, cnn4: nn.Module
) -> None:
    stage = Knowledge(STUDENT, replace(training, epochs=0), 4.0, 1.0, None)
    variant = stage(None, Context(few, 3, lambda: deepcopy(cnn4), "distill"))
    torch.manual_seed(3)
    fresh = STUDENT.build(10, (3, 32, 32)).state_dict()
    assert all(torch.equal(fresh[name], own) for name, own in variant.module.state_dict().items())


def test_another_teacher_makes_another_student(
    training: Training, few: Dataset, cnn4: nn.Module
) -> None:
    torch.manual_seed(1)
    other = STUDENT.build(10, (3, 32, 32))
    stage = Knowledge(STUDENT, training, 4.0, 1.0, None)
    first = stage(None, Context(few, 0, lambda: deepcopy(cnn4), "distill")).module
    second = stage(None, Context(few, 0, lambda: other, "distill")).module
    assert not torch.equal(first[0].weight, second[0].weight)
