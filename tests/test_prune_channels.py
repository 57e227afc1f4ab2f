from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from paredown.dataset.digits import Digits
from paredown.measure.footprint import params
from paredown.prune.channels import Pruning
from paredown.prune.criterion.magnitude import Magnitude
from paredown.prune.widths import kept_channels

AMOUNTS = (0.0, 0.3, 0.5, 0.7, 0.9)
DIGITS = Digits(split_seed=0, crop=2).load()
CHANNELS, ROUNDS = st.integers(1, 4096), st.integers(1, 64)
FRACTIONS = st.floats(0, 1, exclude_max=True)

Pruned = Callable[[float], nn.Module]


def prune(module: nn.Module, amount: float, round_to: int = 8) -> nn.Module:
    """Prune a copy."""
    smaller, pruning = deepcopy(module), Pruning(Magnitude(2), "local", round_to, DIGITS)
    pruning.prune(smaller, amount, pruning.score(smaller, 0))
    return smaller


def convolutions(module: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: part for name, part in module.named_modules() if isinstance(part, nn.Conv2d)}


@pytest.mark.parametrize(
    ("channels", "amount", "round_to", "kept"),
    [
        (64, 0.5, 8, 32),
        (64, 0.3, 8, 48),  # 44.8 asked, nearer to 48 than to 40
        (64, 0.7, 8, 16),  # 19.2 asked
        (24, 0.9, 8, 8),  # 2.4 asked, where Torch-Pruning would keep all 24
        (6, 0.5, 8, 6),
        (10, 0.25, 1, 8),  # 7.5 asked, a tie goes up
    ],
)
def test_the_nearest_multiple_stays(channels: int, amount: float, round_to: int, kept: int) -> None:
    assert kept_channels(channels, amount, round_to) == kept


@given(CHANNELS, ROUNDS)
def test_amount_0_keeps_every_channel(channels: int, round_to: int) -> None:
    assert kept_channels(channels, 0.0, round_to) == channels


@given(CHANNELS, ROUNDS, FRACTIONS, FRACTIONS)
def test_a_larger_amount_never_keeps_more_channels(
    channels: int, round_to: int, first: float, second: float
) -> None:
    less, more = sorted((first, second))
    assert kept_channels(channels, more, round_to) <= kept_channels(channels, less, round_to)


@given(CHANNELS, ROUNDS, FRACTIONS)
def test_kept_channels_are_a_multiple_or_all_and_at_least_one_multiple(
    channels: int, round_to: int, amount: float
) -> None:
    kept = kept_channels(channels, amount, round_to)
    assert kept % round_to == 0 or kept == channels
    assert min(channels, round_to) <= kept <= channels


@given(CHANNELS, ROUNDS, FRACTIONS)
def test_kept_channels_are_within_one_step_of_the_ask(
    channels: int, round_to: int, amount: float
) -> None:
    kept = kept_channels(channels, amount, round_to)
    assert abs(kept - channels * (1 - amount)) <= round_to


@given(CHANNELS, ROUNDS, FRACTIONS)
def test_no_other_multiple_is_nearer_to_the_ask(
    channels: int, round_to: int, amount: float
) -> None:
    kept, asked = kept_channels(channels, amount, round_to), channels * (1 - amount)
    assume(kept < channels)
    for other in (kept - round_to, kept + round_to):
        if round_to <= other <= channels:
            assert abs(kept - asked) <= abs(other - asked) + 1e-6


@pytest.mark.parametrize("amount", AMOUNTS)
def test_a_pruned_network_gives_logits_of_the_same_shape(
    pruned: Pruned, images: torch.Tensor, amount: float
) -> None:
    with torch.no_grad():
        logits = pruned(amount)(images)
    assert logits.shape == (7, 10)
    assert torch.isfinite(logits).all()


def test_amount_0_changes_no_bit_of_the_logits(
    whole: nn.Module, pruned: Pruned, images: torch.Tensor
) -> None:
    with torch.no_grad():
        assert torch.equal(pruned(0.0)(images), whole(images))


def test_params_fall_strictly_with_the_amount(pruned: Pruned) -> None:
    counts = [params(pruned(amount)) for amount in AMOUNTS]
    assert all(less < more for more, less in pairwise(counts))


@pytest.mark.parametrize("amount", AMOUNTS)
def test_every_convolution_has_the_width_that_was_asked(
    whole: nn.Module, pruned: Pruned, amount: float
) -> None:
    before = convolutions(whole)
    for name, layer in convolutions(pruned(amount)).items():
        assert layer.out_channels == kept_channels(before[name].out_channels, amount, 8)
        assert layer.weight.shape[0] == layer.out_channels
        assert layer.weight.shape[1] * layer.groups == layer.in_channels


def test_no_layer_is_left_as_it_was_at_amount_0_9(whole: nn.Module, pruned: Pruned) -> None:
    before = convolutions(whole)
    after = convolutions(pruned(0.9))
    left = [name for name in before if after[name].out_channels == before[name].out_channels]
    assert [name for name in left if before[name].out_channels > 8] == []


@pytest.mark.parametrize("amount", [0.5, 0.9])
def test_the_classifier_keeps_its_outputs_and_is_fed_what_is_left(
    whole: nn.Module, pruned: Pruned, amount: float
) -> None:
    head, before = list(pruned(amount).modules())[-1], list(whole.modules())[-1]
    asked = kept_channels(before.in_features, amount, 8)
    assert (head.out_features, head.in_features) == (10, asked)
    assert head.weight.shape == (10, asked)


@pytest.mark.parametrize("mode", [True, False])
def test_train_and_eval_mode_are_restored(cnn4: nn.Module, mode: bool) -> None:
    smaller = prune(deepcopy(cnn4).train(mode), 0.5)
    assert {part.training for part in smaller.modules()} == {mode}


def test_a_copy_is_pruned_without_touching_the_original(
    cnn4: nn.Module, images: torch.Tensor
) -> None:
    before = {name: tensor.clone() for name, tensor in cnn4.state_dict().items()}
    with torch.no_grad():
        logits = cnn4(images)
        prune(cnn4, 0.7)
        assert torch.equal(cnn4(images), logits)
    assert all(torch.equal(tensor, before[name]) for name, tensor in cnn4.state_dict().items())


def test_batch_statistics_are_not_moved_by_pruning(cnn4: nn.Module) -> None:
    module = deepcopy(cnn4).train()
    smaller = prune(module, 0.5)
    kept = set(smaller[1].running_mean.tolist())
    assert kept <= set(module[1].running_mean.tolist())


def test_channels_that_do_nothing_go_without_a_trace(cnn4: nn.Module, images: torch.Tensor) -> None:
    module = deepcopy(cnn4)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, layer in convolutions(module).items():
            dead = torch.randperm(layer.out_channels)[: layer.out_channels // 2]
            norm = module[int(name) + 1]
            for tensor in (layer.weight, norm.weight, norm.bias):
                tensor[dead] = 0
        expected = module(images)
        found = prune(module, 0.5)(images)
    assert torch.allclose(found, expected, atol=1e-4)


def test_a_frozen_network_is_pruned_too(cnn4: nn.Module) -> None:
    with torch.no_grad():
        frozen = prune(deepcopy(cnn4).requires_grad_(False), 0.5)
    assert frozen[0].out_channels == 16


def test_the_same_weights_lose_the_same_channels(cnn4: nn.Module) -> None:
    first, second = (prune(cnn4, 0.5).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


class Joined(nn.Module):
    """Two branches, concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 24, 3), nn.Conv2d(3, 40, 3)
        self.after, self.head = nn.Conv2d(64, 32, 3), nn.Linear(32, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        both = torch.cat([self.left(images), self.right(images)], dim=1)
        return self.head(self.after(both.relu()).mean(dim=(2, 3)))


def head(width: int) -> list[nn.Module]:
    return [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]


OTHERS = {
    "flattened pixels": lambda: nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 16, 10)
    ),
    "grouped convolution": lambda: nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.Conv2d(32, 64, 3, groups=4), *head(64)
    ),
    "group norm": lambda: nn.Sequential(nn.Conv2d(3, 32, 3), nn.GroupNorm(4, 32), *head(32)),
    "concatenation": Joined,
    "convolutional classifier": lambda: nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("amount", [0.5, 0.9])
def test_other_shapes_of_network_are_pruned_to_a_multiple(
    name: str, amount: float, images: torch.Tensor
) -> None:
    torch.manual_seed(0)
    module = OTHERS[name]().eval()
    smaller = prune(module, amount)
    assert smaller(images).shape == (7, 10)
    before = convolutions(module)
    for at, layer in convolutions(smaller).items():
        assert layer.groups == before[at].groups
        if layer.out_channels != 10:
            assert layer.out_channels % 8 == 0
            assert layer.out_channels < before[at].out_channels
