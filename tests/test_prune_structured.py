import math
from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.model.cnn4 import Cnn4
from paredown.prune.structured import Structured
from paredown.prune.target import Target
from paredown.training import Training
from paredown.variant import Context, Variant

SOURCE = Cnn4(width=32, name="cnn4")


@pytest.fixture
def stage(structured: Structured) -> Structured:
    return structured


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


def widths(module: nn.Module) -> list[int]:
    return [part.out_channels for part in module if isinstance(part, nn.Conv2d)]


@pytest.mark.parametrize("steps", [2, 3])
def test_steps_end_at_the_widths_of_one_shot_and_share_the_epochs(
    stage: Structured, cnn4: nn.Module, few: Dataset, steps: int
) -> None:
    slowly = replace(stage, steps=steps, epochs=5, round_to=4, amount=0.7)
    found = slowly(Variant(cnn4, SOURCE), context(few, cnn4))
    at_once = replace(slowly, steps=1, epochs=0)(Variant(cnn4, SOURCE), context(few, cnn4))
    assert widths(found.module) == widths(at_once.module)
    assert len(found.curves) == 5


def test_more_steps_than_epochs_are_refused(stage: Structured) -> None:
    with pytest.raises(ConfigError, match=r"^epochs must be 0 or at least steps=3,"):
        replace(stage, steps=3, epochs=2)


def test_frozen_weights_stay_frozen(stage: Structured, cnn4: nn.Module, few: Dataset) -> None:
    module = deepcopy(cnn4)
    module[0].requires_grad_(False)
    found = replace(stage, epochs=0)(Variant(module, SOURCE), context(few, module)).module
    assert not found[0].weight.requires_grad
    assert found[4].weight.requires_grad


@pytest.mark.parametrize("steps", [1, 2])
def test_rewound_weights_are_those_of_the_checkpoint_where_the_mask_of_the_trained_ones_is(
    stage: Structured, cnn4: nn.Module, few: Dataset, steps: int
) -> None:
    torch.manual_seed(1)
    early = SOURCE.build(10, (3, 32, 32)).eval()
    asked = []

    def checkpoint(epochs: int) -> nn.Module:
        asked.append(epochs)
        return deepcopy(early)

    rewound = replace(stage, rewind=2, epochs=0, steps=steps)
    given = replace(context(few, cnn4), early=checkpoint)
    found = rewound(Variant(cnn4, SOURCE), given).module
    assert asked == [2]
    assert set(found[0].weight.flatten().tolist()) < set(early[0].weight.flatten().tolist())
    if steps == 1:  # the trained weights say which channels stay
        kept = [row.tolist() for row in early[0].weight.flatten(1)]
        rows = [kept.index(row.tolist()) for row in found[0].weight.flatten(1)]
        plain = replace(stage, epochs=0)(Variant(cnn4, SOURCE), context(few, cnn4)).module
        assert torch.equal(plain[0].weight, cnn4[0].weight[rows])


def test_rewinding_further_than_the_training_went_is_refused(
    stage: Structured, training: Training
) -> None:
    build = partial(SOURCE.build, 10, (3, 32, 32))
    rewound = replace(stage, rewind=2)
    rule = "prune.rewind must be at most 1, the epochs of the training before, got 2"
    with pytest.raises(ConfigError, match=rule):
        rewound.check_cheaply(build, training)


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
        ("steps", 0),
        ("rewind", -1),
        ("scope", "everywhere"),
        ("amount", None),
        ("target", Target(None, None, 1.0, None)),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(
    stage: Structured, field: str, value: object
) -> None:
    named = "amount" if field == "target" else field
    with pytest.raises(ConfigError, match=f"^{named} must"):
        replace(stage, **{field: value})
