from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from conftest import SHAPE
from torch import nn
from torch.nn import functional as F

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.model import layers
from paredown.model.cnn4 import Cnn4
from paredown.quantize.fake import FakeInput, rounding, straight_through
from paredown.quantize.qat import Qat
from paredown.quantize.weights import folded_layers, gain, rounded
from paredown.training import Training
from paredown.variant import Context, Numerics, Variant

INT4 = Numerics("int4", bits=4)
SOURCE = Cnn4(width=32, name="cnn4")


def levels(weight: torch.Tensor) -> list[int]:
    """Count the values of each output channel of a weight."""
    return [len(row.unique()) for row in weight.flatten(1)]


def test_the_gradient_passes_rounding_as_if_nothing_was_rounded() -> None:
    values = torch.tensor([0.2, 0.7, -1.4], requires_grad=True)
    found = straight_through(values, values.round())
    assert found.tolist() == [0, 1, -1]
    (found * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert values.grad.tolist() == [1, 2, 3]


def test_the_gradient_stops_where_an_activation_was_clipped() -> None:
    fake = FakeInput(symmetric=False)
    layer = nn.Identity().eval()
    fake(layer, (torch.tensor([0.0, 1.0]),))  # the range is 0..1 now
    values = torch.tensor([0.5, 3.0, -2.0], requires_grad=True)
    (found,) = fake(layer, (values,))
    found.sum().backward()
    assert values.grad.tolist() == [1, 0, 0]
    assert found.tolist() == pytest.approx([0.5, 1, 0], abs=1 / 255)


def test_a_weight_keeps_as_many_values_as_its_bits_can_say(cnn4: nn.Module) -> None:
    module = rounded(cnn4, INT4)
    for name in layers(module):
        assert max(levels(module.get_submodule(name).weight)) <= 15
        assert max(levels(cnn4.get_submodule(name).weight)) > 15


def test_rounding_is_that_of_the_folded_weight(cnn4: nn.Module) -> None:
    per_tensor = replace(INT4, per_channel=False)
    module = rounded(cnn4, per_tensor)
    for name, layer, norm in folded_layers(module):
        assert (norm is None) == (name == layers(module)[-1])
        folded = layer.weight * gain(layer.weight, norm)
        values = (folded / folded.abs().max() * 7).flatten()
        assert (values - values.round()).abs().max() < 1e-3


def test_a_layer_that_is_kept_keeps_its_weights(cnn4: nn.Module) -> None:
    first = layers(cnn4)[0]
    module = rounded(cnn4, replace(INT4, keep_float=(first,)))
    same = [
        torch.equal(module.get_submodule(name).weight, cnn4.get_submodule(name).weight)
        for name in layers(cnn4)
    ]
    assert same == [True] + [False] * (len(same) - 1)


def test_while_it_lasts_the_network_computes_with_rounded_weights_and_stays_rounded(
    cnn4: nn.Module, images: torch.Tensor
) -> None:
    module = deepcopy(cnn4)
    exact = cnn4(images)
    with rounding(module, INT4):
        during = module(images)
        assert not torch.allclose(during, exact, atol=1e-4)
        loss = during.square().sum()
        loss.backward()
        assert all(parameter.grad is not None for parameter in module.parameters())
    assert {name for name, _ in module.named_parameters()} == {
        name for name, _ in cnn4.named_parameters()
    }
    assert type(module[0]) is nn.Conv2d
    assert torch.allclose(module(images), rounded(cnn4, INT4)(images), atol=1e-5)


def made(training: Training, **changed: object) -> Qat:
    asked = {
        "bits": 4,
        "per_channel": True,
        "symmetric": False,
        "range": "minmax",
        "bias_correction": False,
        "calibration_images": 64,
        "keep_float": [],
        "max_drop": 0.02,
        "ladder": [],
        "epochs": 3,
        "learning_rate": 0.003,
        "training": training,
        "temperature": 4.0,
        "alpha": 0.7,
        "views": None,
    }
    return Qat(**{**asked, **changed})


def test_training_lowers_the_loss_of_the_rounded_network(
    few: Dataset, cnn4: nn.Module, training: Training
) -> None:
    images = torch.from_numpy(few.normalize(few.train.images))
    teacher = cnn4(images).softmax(1)

    def distance(module: nn.Module) -> float:
        with torch.no_grad():
            return float(F.kl_div(module(images).log_softmax(1), teacher, reduction="batchmean"))

    context = Context(few, 0, lambda: cnn4, "quantize")
    variant = Variant(cnn4, SOURCE)
    stage = made(replace(training, batch_size=16), bits=3, alpha=1.0, epochs=12)
    module = stage(variant, context).module
    assert max(levels(module.get_submodule("0").weight)) <= 7
    assert distance(module) < 0.7 * distance(rounded(cnn4, replace(INT4, bits=3)))


def test_the_given_network_stays_as_it_is(
    few: Dataset, cnn4: nn.Module, training: Training
) -> None:
    before = deepcopy(cnn4.state_dict())
    made(training)(Variant(cnn4, SOURCE), Context(few, 0, lambda: cnn4, "quantize"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in cnn4.state_dict().items())


def test_it_says_what_it_is(training: Training) -> None:
    assert made(training).label == "int4-qat-simulated"
    assert made(training).note == "simulated"
    assert made(training, bits=8).label == "int8-qat"
    assert made(training).numerics.name == "int4-qat-simulated"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"epochs": -1}, r"^epochs must be at least 0"),
        ({"learning_rate": 0}, r"^learning_rate must be above 0"),
        ({"temperature": 0}, r"^temperature must be above 0"),
        ({"alpha": 2}, r"^alpha must lie in \[0, 1\]"),
        ({"bits": 1}, r"^bits must be a whole number from 2 to 8"),
    ],
)
def test_a_bad_setting_is_refused_by_its_name(training: Training, changed: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        made(training, **changed)


def test_depthwise_layers_are_rounded_channel_by_channel(few: Dataset) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(SHAPE[0], 6, 3, groups=3), nn.BatchNorm2d(6)).eval()
    module[0].weight.data *= torch.logspace(0, 3, 6).reshape(-1, 1, 1, 1)
    found = rounded(module, INT4)
    change = (found[0].weight - module[0].weight).abs().amax(dim=(1, 2, 3))
    bound = module[0].weight.abs().amax(dim=(1, 2, 3))
    assert (change <= bound / 14 * 1.001).all()


@pytest.mark.parametrize("how", [{"affine": False}, {"track_running_stats": False}])
def test_a_norm_without_scale_or_without_statistics_is_trained_beside(how: dict) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, **how), nn.Flatten()).train()
    images = torch.rand(4, 3, 8, 8)
    module(images)
    with rounding(module, INT4):
        module(images).sum().backward()
    assert max(levels(rounded(module.eval(), INT4)[0].weight)) <= 15
    ((_, _, norm),) = folded_layers(module)
    assert (norm is None) == ("track_running_stats" in how)


def test_what_is_frozen_stays_frozen_while_it_is_rounded() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    module[0].requires_grad_(False)
    with rounding(module, INT4):
        trained = {name for name, one in module.named_parameters() if one.requires_grad}
        assert {name.partition(".")[0] for name in trained} == {"1"}
    assert not module[0].weight.requires_grad
    assert module[1].weight.requires_grad


def test_a_weight_norm_is_rounded_after_training_and_refused_while_training(
    few: Dataset, training: Training
) -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)))

    assert max(levels(rounded(build(), INT4)[0].weight)) <= 15
    context = Context(few, 0, lambda: None, "quantize", trains=False)
    with pytest.raises(ConfigError, match=r"^quantize must train layers that store .* got '0'"):
        made(training).check(build, context, None)
