"""Strided convolutions of 1x1 maps have the gradients of float32, in bfloat16 trainings too."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from paredown.model.trial import PLAIN
from paredown.training.padding import small_maps_in_float32
from paredown.training.step import Batch, make_optimizer, take_step

CONVOLUTIONS = {
    "1d": (nn.Conv1d(64, 64, 3, 2, 1), (8, 64, 1)),
    "2d": (nn.Conv2d(64, 128, 3, 2, 1), (8, 64, 1, 1)),
    "3d": (nn.Conv3d(16, 16, 3, 2, 1), (8, 16, 1, 1, 1)),
    "grouped": (nn.Conv2d(64, 64, 3, 2, 1, groups=64), (8, 64, 1, 1)),
    "dilated": (nn.Conv2d(32, 32, 3, 2, 2, dilation=2), (8, 32, 1, 1)),
    "wide": (nn.Conv2d(32, 32, 5, 2, 2), (8, 32, 1, 1)),
    "stride 3": (nn.Conv2d(64, 64, 3, 3, 1), (8, 64, 1, 1)),
    "much padding": (nn.Conv2d(32, 32, 3, 2, 3), (8, 32, 1, 1)),
    "transposed": (nn.ConvTranspose2d(64, 64, 3, 2, 1), (8, 64, 1, 1)),
    "transposed, more out": (nn.ConvTranspose2d(64, 64, 3, 2, 1, output_padding=1), (8, 64, 1, 1)),
}


def poison(like: torch.Tensor) -> None:
    """Leave nan in memory that is free."""
    kinds = (torch.float32, torch.bfloat16)
    del [torch.full(like.shape, float("nan"), dtype=kind) for kind in kinds for _ in range(4)][:]


def exact_gradient(compute: Callable[..., torch.Tensor], weight: nn.Parameter) -> torch.Tensor:
    """Return the gradient of a sum in float64."""
    return torch.autograd.functional.jacobian(compute, weight.double())


def convolved(conv: nn.Module, weight: torch.Tensor, *images: torch.Tensor) -> torch.Tensor:
    parameters = {"weight": weight, "bias": conv.bias.double()}
    outputs = (torch.func.functional_call(conv, parameters, (batch.double(),)) for batch in images)
    return sum(output.sum() for output in outputs)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_gradients_are_those_of_float64(kind: str) -> None:
    torch.manual_seed(0)
    conv, shape = CONVOLUTIONS[kind]
    images = torch.randn(shape)
    exact = exact_gradient(lambda weight: convolved(conv, weight, images), conv.weight)
    assert (exact == 0).any()
    assert (exact != 0).any()
    conv.weight.grad = None
    with small_maps_in_float32(conv):
        with torch.autocast("cpu", torch.bfloat16):
            total = conv(images).float().sum()
            assert torch.is_autocast_enabled("cpu")
        poison(conv.weight)
        total.backward()
    assert (conv.weight.grad[exact == 0] == 0).all()
    assert torch.allclose(conv.weight.grad.double(), exact, rtol=1e-4, atol=1e-4)


class Halved(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight / 2


def test_kernels_behind_a_parametrization_have_them_too() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 8, 1, 1)
    halved = nn.utils.parametrize.register_parametrization(
        nn.Conv2d(8, 8, 3, 2, 1), "weight", Halved()
    )
    normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3, 2, 1))
    for conv in (halved, normed):
        original = next(iter(conv.parametrizations.weight.parameters()))
        gradients = []
        for fast in (False, True):
            original.grad = None
            with small_maps_in_float32(conv), torch.autocast("cpu", torch.bfloat16, fast):
                total = sum(conv(input=images).float().sum() for _ in range(2))
            poison(conv.weight)
            total.backward()
            gradients.append(original.grad)
        assert torch.allclose(*gradients, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sides", [(1, 4), (4, 1), (1, 4, 1)])
def test_a_kernel_that_meets_larger_maps_too_keeps_all_its_gradients(
    sides: tuple[int, ...],
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, 3, 2, 1)
    images = [torch.randn(2, 8, side, side) for side in sides]
    exact = exact_gradient(lambda weight: convolved(conv, weight, *images), conv.weight)
    with small_maps_in_float32(conv):
        with torch.autocast("cpu", torch.bfloat16):
            total = sum(conv(batch).float().sum() for batch in images)
        poison(conv.weight)
        total.backward()
    assert (conv.weight.grad != 0).all()
    assert torch.allclose(conv.weight.grad.double(), exact, rtol=0.02, atol=0.05)


def types(conv: nn.Conv2d, images: torch.Tensor) -> torch.dtype:
    with small_maps_in_float32(conv), torch.autocast("cpu", torch.bfloat16):
        return conv(images).dtype


def test_only_maps_of_one_pixel_take_float32() -> None:
    conv = nn.Conv2d(8, 8, 3, 2, 1)
    assert types(conv, torch.randn(2, 8, 1, 1)) is torch.float32
    assert types(conv, torch.randn(2, 8, 1, 1).bfloat16()) is torch.float32
    assert types(conv, torch.randn(2, 8, 2, 2)) is torch.bfloat16
    assert types(conv, torch.randn(8, 1, 1)) is torch.bfloat16  # one image without a batch
    assert types(nn.Conv2d(8, 8, 3, 1, 1), torch.randn(2, 8, 1, 1)) is torch.bfloat16
    assert not conv._forward_hooks
    assert not conv._forward_pre_hooks


def test_autocast_is_as_before_after_an_error() -> None:
    conv = nn.Conv2d(8, 8, 3, 2, 1)
    with small_maps_in_float32(conv), torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(RuntimeError, match="channels"):
            conv(torch.randn(2, 4, 1, 1))
        assert torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cpu")


def test_every_step_has_them() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(64, 128, 3, 2, 1), nn.Flatten())
    optimizer, _ = make_optimizer(PLAIN, network, 1)

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        value = logits.square().sum()
        poison(network[0].weight)
        return value

    batch = Batch(torch.randn(8, 64, 1, 1), torch.zeros(8, dtype=torch.int64))
    take_step(network, optimizer, loss, batch, True, 128)
    assert torch.isfinite(network[0].weight).all()
    unmet = network[0].weight.grad.abs().sum((0, 1)) == 0
    assert unmet.sum() == 8  # all positions but the centre
