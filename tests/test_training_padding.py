"""Kernel positions that meet padding alone have a gradient of zero, in bfloat16 too."""

import pytest
import torch
from torch import nn

from paredown.training.padding import padded_positions, zero_gradients

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


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_gradients_are_those_of_float64(kind: str) -> None:
    torch.manual_seed(0)
    conv, shape = CONVOLUTIONS[kind]
    images = torch.randn(shape)
    exact = torch.autograd.functional.jacobian(
        lambda weight: torch.func.functional_call(
            conv, {"weight": weight, "bias": conv.bias.double()}, (images.double(),)
        ).sum(),
        conv.weight.double(),
    )
    conv.weight.grad = None
    with padded_positions(conv) as padded:
        with torch.autocast("cpu", torch.bfloat16):
            total = conv(images).float().sum()
        poison(conv.weight)
        total.backward()
        zero_gradients(padded)
    (mask,) = padded.values()
    assert (exact[mask.expand_as(exact)] == 0).all()
    assert (exact[~mask.expand_as(exact)] != 0).any()
    assert torch.allclose(conv.weight.grad.double(), exact, rtol=0.02, atol=0.05)


class Halved(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight / 2


def test_kernels_behind_a_parametrization_are_found() -> None:
    conv = nn.utils.parametrize.register_parametrization(
        nn.Conv2d(8, 8, 3, 2, 1), "weight", Halved()
    )
    with padded_positions(conv) as padded:
        for _ in range(2):
            conv(input=torch.randn(2, 8, 1, 1))
        assert [weight is conv.parametrizations.weight.original for weight in padded] == [True]
    normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3, 2, 1))
    with padded_positions(normed) as padded:
        normed(torch.randn(2, 8, 1, 1))
        assert not padded


@pytest.mark.parametrize("sides", [(1, 4), (4, 1), (1, 4, 1)])
def test_a_kernel_that_meets_larger_maps_too_keeps_all_its_gradients(
    sides: tuple[int, ...],
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, 3, 2, 1)
    with padded_positions(conv) as padded:
        sum(conv(torch.randn(2, 8, side, side)).sum() for side in sides).backward()
        expected = conv.weight.grad.clone()
        zero_gradients(padded)
    assert (expected != 0).all()
    assert torch.equal(conv.weight.grad, expected)


def test_one_image_without_a_batch_is_no_map_of_one_pixel() -> None:
    conv = nn.Conv2d(8, 8, 3, 2, 1)
    with padded_positions(conv) as padded:
        conv(torch.randn(8, 1, 1))
        assert not padded


def test_convolutions_of_larger_maps_are_left_alone() -> None:
    conv = nn.Conv2d(8, 8, 3, 2, 1)
    with padded_positions(conv) as padded:
        conv(torch.randn(2, 8, 2, 2))
        assert not padded
    assert not conv._forward_hooks
