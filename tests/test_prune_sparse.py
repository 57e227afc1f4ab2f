"""Zeros that leave the shape as it is: where they fall, and that they stay."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.measure.footprint import compressed_mb, params, zeros
from paredown.model.cnn4 import Cnn4
from paredown.prune.channels import Pruning
from paredown.prune.criterion.magnitude import Lamp, Magnitude
from paredown.prune.masked import Masked
from paredown.prune.masks import scattered_masks, two_of_four_masks
from paredown.prune.pruner import Pruner
from paredown.prune.semi_structured import SemiStructured
from paredown.prune.unstructured import Unstructured
from paredown.training import Training
from paredown.variant import Context, Stage, Variant

SOURCE = Cnn4(width=32, name="cnn4")


@pytest.fixture
def stages(training: Training) -> dict[str, Pruner]:
    common = {
        "learning_rate": 0.003,
        "training": training,
        "temperature": 4.0,
        "alpha": 0.7,
        "views": None,
    }
    return {
        "masked": Masked(
            epochs=1, **common, criterion=Magnitude(2), amount=0.5, scope=None, round_to=8
        ),
        "unstructured": Unstructured(epochs=1, **common, amount=0.5, scope="local"),
        "semi_structured": SemiStructured(epochs=1, **common),
    }


KINDS = ("masked", "unstructured", "semi_structured")


def made(stage: Pruner, module: nn.Module, few: Dataset) -> Variant:
    context = Context(few, 0, lambda: deepcopy(module), "prune")
    return stage(Variant(module, SOURCE), context)


def zero_places(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight == 0 for name, weight in module.named_parameters() if weight.ndim > 1}


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_survive_recovery_and_the_rest_is_fitted(
    stages: dict[str, Pruner], kind: str, cnn4: nn.Module, few: Dataset
) -> None:
    pruned = made(replace(stages[kind], epochs=0), cnn4, few).module
    recovered = made(stages[kind], cnn4, few).module
    before, after = zero_places(pruned), zero_places(recovered)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert zeros(recovered) > 0.4
    assert not torch.equal(pruned[0].weight, recovered[0].weight)


@pytest.mark.parametrize("kind", KINDS)
def test_the_shape_and_the_names_of_a_network_stay(
    stages: dict[str, Pruner], kind: str, cnn4: nn.Module, few: Dataset
) -> None:
    found = made(stages[kind], cnn4, few).module
    assert {name: tensor.shape for name, tensor in found.state_dict().items()} == {
        name: tensor.shape for name, tensor in cnn4.state_dict().items()
    }
    assert params(found) == params(cnn4)
    assert not any(part._forward_pre_hooks for part in found.modules())


@pytest.mark.parametrize("kind", KINDS)
def test_a_stage_says_that_the_shape_is_unchanged(stages: dict[str, Pruner], kind: str) -> None:
    assert isinstance(stages[kind], Stage)
    assert stages[kind].note == "shape unchanged"


def test_masked_channels_answer_as_removed_ones_do(
    stages: dict[str, Pruner], whole: nn.Module, few: Dataset, images: torch.Tensor
) -> None:
    found = made(replace(stages["masked"], epochs=0), whole, few).module
    smaller, pruning = deepcopy(whole), Pruning(Magnitude(2), "local", 8, few)
    pruning.prune(smaller, 0.5, pruning.score(smaller, 0))
    with torch.no_grad():
        expected = smaller(images)
        assert torch.allclose(found(images), expected, atol=1e-4 * float(expected.abs().max() + 1))


@pytest.mark.parametrize("amount", [0.0, 0.25, 0.9])
@pytest.mark.parametrize("scope", ["local", "global"])
def test_scattered_zeros_are_the_smallest_weights(amount: float, scope: str) -> None:
    torch.manual_seed(0)
    weights = {"a": torch.randn(8, 10), "b": 3 * torch.randn(4, 5, 3, 3)}
    masks = scattered_masks(weights, amount, scope)
    groups = (
        [list(weights)] if scope == "global" else [[name] for name in weights]
    )  # what is ranked together
    for names in groups:
        size = torch.cat([weights[name].abs().flatten() for name in names])
        kept = torch.cat([masks[name].flatten() for name in names]).bool()
        assert int((~kept).sum()) == round(amount * len(size))
        if amount:
            assert size[~kept].max() <= size[kept].min()


@pytest.mark.parametrize("shape", [(6, 8), (5, 12, 3, 3), (16, 4, 1, 1)])
def test_two_of_four_along_the_inputs_are_zeros_and_the_smaller_two(
    shape: tuple[int, ...],
) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape)
    mask = two_of_four_masks({"a": weight})["a"]
    assert mask.shape == weight.shape
    flat, kept = (each.reshape(shape[0], shape[1], -1) for each in (weight.abs(), mask.bool()))
    for output in range(shape[0]):
        for at in range(0, shape[1], 4):
            for place in range(flat.shape[2]):
                four = flat[output, at : at + 4, place]
                keeps = kept[output, at : at + 4, place]
                assert int(keeps.sum()) == 2
                assert four[keeps].min() >= four[~keeps].max()


def test_amount_0_is_the_same_network(
    stages: dict[str, Pruner], cnn4: nn.Module, few: Dataset
) -> None:
    for kind in ("masked", "unstructured"):
        assert made(replace(stages[kind], amount=0.0), cnn4, few).module is cnn4


def test_a_scope_that_a_criterion_does_not_suit_is_refused(stages: dict[str, Pruner]) -> None:
    with pytest.raises(ConfigError, match=r"^scope must be global or isomorphic for Lamp,"):
        replace(stages["masked"], criterion=Lamp(), scope="local")


def test_zeros_pack_and_other_numbers_do_not(tmp_path) -> None:
    torch.manual_seed(0)
    for name, tensor in (("zeros", torch.zeros(10_000)), ("numbers", torch.randn(10_000))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(tensor.numpy().tobytes())
    assert compressed_mb(tmp_path / "zeros") < 0.001
    assert 0.03 < compressed_mb(tmp_path / "numbers") <= 0.041
