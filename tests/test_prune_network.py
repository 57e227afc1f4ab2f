"""Networks that cannot be pruned are refused in one line, before anything is trained."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command import SMALL, paredown
from torch import nn

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.prune.channels import Pruning
from paredown.prune.criterion.magnitude import Magnitude
from paredown.prune.groups import find_groups
from paredown.prune.network import require_groups, require_prunable


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


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "tied weights": (tied, r"model must not tie weights .* got 1.weight and 2.weight"),
    "frozen": (frozen, r"model must have no frozen .* got 0.weight and 1 more; unfreeze them"),
    "control flow": (
        lambda: nn.Sequential(nn.Conv2d(3, 16, 3), Gate(), *head(16)),
        r"model must do the same for every image to be pruned, got 1 \(Gate\), which decides",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_network_that_would_come_out_broken_is_refused(
    name: str, device: str, few: Dataset
) -> None:
    build, message = REFUSED[name]
    with torch.device(device):
        network = build()
    with pytest.raises(ConfigError, match=message):
        require_prunable(network, few, recovers=True)


def test_frozen_parameters_are_let_through_where_nothing_fits_them(few: Dataset) -> None:
    network = frozen()
    before = [parameter.requires_grad for parameter in network.parameters()]
    require_prunable(network, few, recovers=False)
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


def test_shuffled_channels_stay_with_a_reason_and_the_others_go(few: Dataset) -> None:
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 24, 3), Shuffled(), *head(24))
    found = find_groups(network, 10, (3, 32, 32))
    assert [group.name for group in found.groups] == ["0"]
    assert "shuffle" in found.fixed["1"]
    with pytest.raises(ConfigError, match="got none: 0: a reshape regroups the channels"):
        only = nn.Sequential(nn.Conv2d(3, 16, 3), Shuffled(), *head(16))
        require_groups(only, Pruning(Magnitude(2), "local", 8, few))


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


NETS = """
from torch import nn

def head(width):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]

def tied():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3), *head(8))
    network[2].weight = network[1].weight
    return network

def frozen():
    network = nn.Sequential(nn.Conv2d(3, 16, 3), *head(16))
    network[0].requires_grad_(False)
    return network

class Gate(nn.Module):
    def forward(self, images):
        return images if images.mean() > 0 else -images

def gated():
    return nn.Sequential(nn.Conv2d(3, 16, 3), Gate(), *head(16))

def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
"""


@pytest.mark.parametrize(
    ("net", "message"),
    [
        ("tied", "model must not tie weights that are pruned, got 1.weight and 2.weight"),
        ("frozen", "got 0.weight and 1 more; unfreeze them, or prune with prune.epochs=0"),
        ("gated", "got 1 (Gate), which decides by the values of its input"),
        ("flat", "model must have a layer whose channels can go, got none besides the classifier"),
    ],
)
def test_a_users_own_network_is_refused_in_one_line_and_exit_code_2(
    tmp_path: Path, net: str, message: str
) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    settings = [setting for setting in SMALL if not setting.startswith(("model=", "model."))]
    done = paredown(
        tmp_path, "technique=prune", "model=custom", f"model.target=nets.py:{net}", *settings
    )
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.safetensors"))
