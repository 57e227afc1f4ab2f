import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.model.cnn4 import Cnn4
from paredown.prune.structured import Structured
from paredown.training import Training
from paredown.variant import Context, Variant

SOURCE = Cnn4(width=32, name="cnn4")


@pytest.fixture
def stage(training: Training) -> Structured:
    return Structured(0.5, 8, 1, 0.003, training, temperature=4.0, alpha=0.7)


def context(dataset: Dataset, teacher: nn.Module) -> Context:
    return Context(dataset, 0, lambda: deepcopy(teacher), "prune")


def test_amount_0_gives_the_same_network_and_trains_nothing(
    stage: Structured, cnn4: nn.Module, few: Dataset
) -> None:
    given = Variant(cnn4, SOURCE, curves=({"loss": 1.0},))
    found = replace(stage, amount=0.0)(given, context(few, cnn4))
    assert found.module is cnn4
    assert found.curves == ()


def test_the_given_network_stays_as_it_is(
    stage: Structured, cnn4: nn.Module, few: Dataset, images: torch.Tensor
) -> None:
    before = cnn4(images)
    found = stage(Variant(cnn4, SOURCE), context(few, cnn4))
    assert torch.equal(cnn4(images), before)
    assert found.module[0].out_channels == 16
    assert found.source is SOURCE


def test_recovery_follows_its_own_epochs_and_rate(
    stage: Structured, cnn4: nn.Module, few: Dataset
) -> None:
    longer = replace(stage, epochs=3, learning_rate=0.001)
    found = longer(Variant(cnn4, SOURCE), context(few, cnn4))
    assert len(found.curves) == 3
    assert max(point["learning_rate"] for point in found.curves) <= 0.001


def test_no_recovery_leaves_only_weights_that_were_there(
    stage: Structured, cnn4: nn.Module, few: Dataset
) -> None:
    found = replace(stage, epochs=0)(Variant(cnn4, SOURCE), context(few, cnn4))
    assert set(found.module[0].weight.flatten().tolist()) < set(cnn4[0].weight.flatten().tolist())


def test_the_label_tells_the_amount(stage: Structured) -> None:
    assert replace(stage, amount=0.3).label == "prune0.30"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 1.0),
        ("amount", -0.1),
        ("amount", math.nan),
        ("round_to", 0),
        ("epochs", -1),
        ("learning_rate", 0.0),
        ("temperature", 0.0),
        ("alpha", 1.5),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(
    stage: Structured, field: str, value: float
) -> None:
    with pytest.raises(ConfigError, match=f"^{field} must"):
        replace(stage, **{field: value})
