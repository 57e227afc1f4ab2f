"""Networks that cannot be pruned are refused in one line, before anything is trained."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.prune.channels import Pruning
from paredown.prune.criterion.magnitude import Magnitude
from paredown.prune.network import require_fixed_flow, require_groups
from paredown.prune.outline import require_rounding


def head(width: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]


class Gate(nn.Module):
    """Does something else for dark images."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images if images.mean() > 0 else -images


class Shuffled(nn.Module):
    """Two groups of channels, dealt out like cards."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = images.shape
        dealt = images.view(batch, 2, channels // 2, height, width).transpose(1, 2)
        return dealt.reshape(batch, channels, height, width)


class Halved(nn.Module):
    """One half of the channels gates the other."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        left, right = images.chunk(2, dim=1)
        return left * right.sigmoid()


def tied() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3))
    network[2].weight = network[1].weight
    return nn.Sequential(*network, *head(16))


def frozen() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), *head(16))
    network[0].requires_grad_(False)
    return network


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_network_that_decides_by_values_is_refused(device: str, few: Dataset) -> None:
    with torch.device(device):
        network = nn.Sequential(nn.Conv2d(3, 16, 3), Gate(), *head(16))
    message = r"model must have no data-dependent control flow to be pruned, got 1 \(Gate\), "
    with pytest.raises(ConfigError, match=message):
        require_fixed_flow(network, few)


def test_layers_that_share_a_weight_lose_the_same_channels_and_go_on_sharing_it(
    few: Dataset,
) -> None:
    network = tied().eval()
    pruning = Pruning(Magnitude(2), "local", 4, few)
    (cut,) = pruning.prune(network, 0.5, pruning.score(network, 0))
    assert (cut.before, cut.after) == (16, 8)
    assert network[1].weight is network[2].weight
    assert network[1].weight.shape == (8, 8, 3, 3)


def test_frozen_layers_stay_whole_where_fine_tuning_follows(few: Dataset) -> None:
    network = frozen()
    before = [parameter.requires_grad for parameter in network.parameters()]
    fitted = Pruning(Magnitude(2), "local", 4, few, keeps_frozen=True).find(network)
    assert [group.name for group in fitted.groups] == ["1"]
    assert "frozen" in fitted.fixed["0"]
    plain = Pruning(Magnitude(2), "local", 4, few).find(network)
    assert [group.name for group in plain.groups] == ["0", "1"]
    assert [parameter.requires_grad for parameter in network.parameters()] == before
    assert not all(before)


def test_a_network_without_a_layer_to_prune_is_refused(few: Dataset) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    message = "model must have a layer whose channels can go, got none besides the classifier"
    with pytest.raises(ConfigError, match=message):
        require_groups(flat, Pruning(Magnitude(2), "local", 8, few))


def test_a_width_above_every_layer_is_refused(few: Dataset) -> None:
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 24, 3), *head(24))
    message = r"prune.round_to must be below 24, .* the widest layer, 1, got 24"
    with pytest.raises(ConfigError, match=message):
        require_groups(network, Pruning(Magnitude(2), "local", 24, few))


def attentive() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.Linear(16, 16), *head(16))


@pytest.mark.parametrize(
    ("network", "round_to", "refused"),
    [
        (lambda: nn.Sequential(nn.Conv2d(3, 48, 3), *head(48)), 48, True),
        (lambda: nn.Sequential(nn.Conv2d(3, 48, 3), *head(48)), 47, False),
        (lambda: nn.Sequential(nn.Conv2d(3, 48, 3), nn.Flatten(), nn.Linear(960, 10)), 500, False),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 10)), 64, False),
        (attentive, 4096, False),  # its heads may go, whatever the rounding
        (lambda: pytest.fail("it was built"), 32, False),
    ],
    ids=["at", "below", "flattened", "linear", "attention", "usual"],
)
def test_shapes_refuse_a_rounding_only_where_they_prove_that_nothing_goes(
    network: Callable[[], nn.Module], round_to: int, refused: bool
) -> None:
    if not refused:
        require_rounding(round_to, network)
        return
    told = "prune.round_to must be below 48, the channels of the widest layer, 0, got 48"
    with pytest.raises(ConfigError, match=told):
        require_rounding(round_to, network)


def test_shuffled_channels_are_followed(few: Dataset) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 24, 3), Shuffled(), *head(24)).eval()
    pruning = Pruning(Magnitude(2), "local", 4, few)
    before = network[0].weight.detach().clone()
    (cut,) = pruning.prune(network, 0.5, pruning.score(network, 0))
    kept = [unit for unit in range(12) if unit not in cut.units]
    both = [*kept, *(unit + 12 for unit in kept)]  # the shuffle deals two equal halves
    assert torch.equal(network[0].weight, before[both])
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_halves_of_a_split_lose_the_same_channels(few: Dataset) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 32, 3), Halved(), *head(16)).eval()
    pruning = Pruning(Magnitude(2), "local", 4, few)
    before = network[0].weight.detach().clone()
    (cut,) = pruning.prune(network, 0.5, pruning.score(network, 0))
    kept = [unit for unit in range(16) if unit not in cut.units]
    both = [*kept, *(unit + 16 for unit in kept)]
    assert (cut.before, cut.after) == (32, 16)
    assert torch.equal(network[0].weight, before[both])
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
