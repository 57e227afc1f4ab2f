"""The smaller network answers as the whole one with the removed channels masked."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.prune import equivalence, operations
from paredown.prune.channels import Pruning
from paredown.prune.criterion.magnitude import Magnitude
from paredown.prune.equivalence import DIFFERENT, STUCK, difference, proven
from paredown.prune.find import find_groups
from paredown.prune.network import require_groups


class Body(nn.Module):
    """A stem, what a test puts between, and a head."""

    out = 16

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 16, 3, 2, 1), nn.Linear(self.out, 10)

    def body(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.stem(images).relu()).mean((2, 3)))


class Flipped(Body):
    """The second convolution reads the channels in reverse."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Conv2d(16, 16, 3, padding=1)

    def body(self, images: torch.Tensor) -> torch.Tensor:
        return self.second(images.flip(1)).relu()


class Padded(Body):
    """The shortcut of the first residual networks: zeros for the channels that it lacks."""

    out = 32

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(16, 32, 3, padding=1)

    def body(self, images: torch.Tensor) -> torch.Tensor:
        return self.wide(images) + F.pad(images, (0, 0, 0, 0, 8, 8))


class Centered(Body):
    """Takes the mean over channels away, which counts them."""

    def body(self, images: torch.Tensor) -> torch.Tensor:
        return (images - images.mean(1, keepdim=True)).relu()


class Sliced(Body):
    """Halves at an index that is written down."""

    out = 8

    def body(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :8] * images[:, 8:].sigmoid()


class Scaled(Body):
    """A factor and a shift for each channel, of two shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.rand(16, 1, 1)), nn.Parameter(torch.rand(16))

    def body(self, images: torch.Tensor) -> torch.Tensor:
        return (images * self.scale + self.shift.view(1, -1, 1, 1)).relu()


class Normed(Body):
    """Statistics over all channels, channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.second = nn.LayerNorm(16), nn.Linear(16, 16)

    def body(self, images: torch.Tensor) -> torch.Tensor:
        return self.second(self.norm(images.permute(0, 2, 3, 1))).permute(0, 3, 1, 2).relu()


class Aided(Body):
    """A second head, for training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.aid = nn.Linear(16, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.stem(images).relu()
        logits = self.head(features.mean((2, 3)))
        return (logits, self.aid(features.amax((2, 3)))) if self.training else logits


class Gated(Body):
    """Half of the channels gates the other half."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(16, 32, 1)

    def body(self, images: torch.Tensor) -> torch.Tensor:
        return F.glu(self.wide(images), dim=1)


class Mixed(Body):
    """Two convolutions, added up by what a Linear says of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1)
        self.say = nn.Linear(16, 2)

    def body(self, images: torch.Tensor) -> torch.Tensor:
        shares = self.say(images.mean((2, 3))).softmax(1)[:, :, None, None, None]
        return (torch.stack([self.one(images), self.two(images)], 1) * shares).sum(1).relu()


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    equivalence._PROVEN.clear()
    yield
    equivalence._PROVEN.clear()


def images(dataset: Dataset) -> torch.Tensor:
    return torch.from_numpy(dataset.normalize(dataset.val.images[:2]))


@pytest.mark.parametrize("network", [Flipped, Padded, Scaled, Normed, Gated])
def test_what_can_be_followed_is_pruned(network: type[Body], few: Dataset) -> None:
    torch.manual_seed(0)
    module = network().eval()
    found = proven(module, images(few))
    assert found.fixed == {}
    assert sum(group.channels for group in found.groups) >= 16
    half = {group.name: list(range(0, group.units, 2)) for group in found.groups}
    assert difference(module.double(), found, half, images(few).double()) <= 1


def test_a_head_for_training_alone_goes_on_fitting(few: Dataset) -> None:
    module = Aided().eval()
    pruning = Pruning(Magnitude(2), "local", 4, few)
    pruning.prune(module, 0.5, pruning.score(module, 0))
    assert module.aid.in_features == module.stem.out_channels == 8
    assert [logits.shape for logits in module.train()(images(few))] == [(2, 10), (2, 10)]


def test_channels_that_one_gate_weighs_together_go_one_by_one(few: Dataset) -> None:
    found = proven(Mixed().eval(), images(few))
    assert [(group.name, group.units) for group in found.groups] == [("stem", 16), ("one", 16)]


@pytest.mark.parametrize(("network", "reason"), [(Centered, DIFFERENT), (Sliced, STUCK)])
def test_a_group_that_would_compute_something_else_stays_whole_with_a_reason(
    network: type[Body], reason: str, few: Dataset
) -> None:
    torch.manual_seed(0)
    found = proven(network().eval(), images(few))
    assert found.groups == ()
    assert found.fixed == {"stem": reason}
    with pytest.raises(ConfigError, match=rf"got none: stem: {reason[:30]}"):
        require_groups(network(), Pruning(Magnitude(2), "local", 4, few))


def test_the_others_are_pruned_beside_a_group_that_stays(
    few: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    class Both(Centered):
        def __init__(self) -> None:
            super().__init__()
            self.second = nn.Conv2d(16, 16, 3, padding=1)

        def body(self, images: torch.Tensor) -> torch.Tensor:
            return self.second(super().body(images)).relu()

    found = proven(Both().eval(), images(few))
    assert [group.name for group in found.groups] == ["second"]
    assert found.fixed == {"stem": DIFFERENT}
    require_groups(Both(), Pruning(Magnitude(2), "local", 4, few))
    assert f"not pruned: stem: {DIFFERENT}" in caplog.text


def test_the_check_catches_a_finder_that_follows_channels_wrongly(
    few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = proven(Flipped().eval(), images(few))
    assert [group.name for group in right.groups] == ["stem", "second"]
    equivalence._PROVEN.clear()
    aten = operations.aten
    monkeypatch.setitem(operations.RULES, aten.flip, operations.combined)  # as if nothing moved
    wrong = find_groups(Flipped().eval(), images(few))
    assert [group.name for group in wrong.groups] == ["stem", "second"]
    caught = proven(Flipped().eval(), images(few))
    assert [group.name for group in caught.groups] == ["second"]
    assert caught.fixed == {"stem": DIFFERENT}


def test_a_shape_is_tried_once(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []
    prove = equivalence._prove
    monkeypatch.setattr(equivalence, "_prove", lambda *given: tries.append(1) or prove(*given))
    for _ in range(3):
        proven(Flipped().eval(), images(few))
    assert len(tries) == 1


def test_weights_stay_as_they_are(few: Dataset) -> None:
    module = Normed().eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    proven(module, images(few))
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
