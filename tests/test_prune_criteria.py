"""What a channel is worth: each formula by hand, and what every criterion promises."""

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from hydra.utils import get_class
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from paredown.dataset import Dataset, Split
from paredown.errors import ConfigError
from paredown.prune.channels import Pruning
from paredown.prune.criterion import SCOPES, Criterion
from paredown.prune.criterion.gradient import Hessian, Taylor
from paredown.prune.criterion.magnitude import (
    BatchNormScale,
    GeometricMedian,
    Lamp,
    Magnitude,
    Random,
)
from paredown.prune.groups import Group, PruningGroups
from paredown.prune.widths import widths

FOLDER = Path(__file__).parents[1] / "conf" / "prune" / "criterion"


def built(file: Path) -> Criterion:
    node = yaml.safe_load(file.read_text())
    return get_class(node.pop("_target_"))(**node)


ALL = {file.stem: built(file) for file in sorted(FOLDER.glob("*.yaml"))}


def scored(
    criterion: Criterion, module: nn.Module, dataset: Dataset, seed: int = 0
) -> dict[str, torch.Tensor]:
    return dict(Pruning(criterion, "local", 8, dataset).score(deepcopy(module), seed))


@pytest.fixture
def parts(cnn4: nn.Module) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What depends on cnn4's first 32 channels: filters, batch norm, the next layer's inputs."""
    return cnn4[0].weight.detach(), cnn4[1].weight.detach(), cnn4[4].weight.detach()


@pytest.mark.parametrize("power", [1, 2])
def test_magnitude_adds_up_every_weight_of_a_channel(
    cnn4: nn.Module, few: Dataset, parts: tuple[torch.Tensor, ...], power: int
) -> None:
    filters, norm, after = (part.abs() ** power for part in parts)
    by_hand = [filters[at].sum() + norm[at] + after[:, at].sum() for at in range(32)]
    expected = torch.stack(by_hand)
    found = scored(Magnitude(power), cnn4, few)["0"]
    assert torch.allclose(found, expected / expected.mean(), rtol=1e-4)


def test_batch_norm_scale_is_the_size_of_the_factor(
    cnn4: nn.Module, few: Dataset, parts: tuple[torch.Tensor, ...]
) -> None:
    assert torch.equal(scored(BatchNormScale(), cnn4, few)["0"], parts[1].abs())


def test_lamp_is_its_definition(
    cnn4: nn.Module, few: Dataset, parts: tuple[torch.Tensor, ...]
) -> None:
    filters, norm, after = (part**2 for part in parts)
    squares = [float(filters[at].sum() + norm[at] + after[:, at].sum()) for at in range(32)]
    expected = [own / sum(other for other in squares if other >= own) for own in squares]
    found = scored(Lamp(), cnn4, few)["0"]
    assert torch.allclose(found, torch.tensor(expected), rtol=1e-4)
    assert found.max() == 1


def test_the_geometric_median_is_the_sum_of_distances(
    cnn4: nn.Module, few: Dataset, parts: tuple[torch.Tensor, ...]
) -> None:
    filters = parts[0].flatten(1)
    expected = [sum((one - other).norm() for other in filters) for one in filters]
    found = scored(GeometricMedian(), cnn4, few)["0"]
    assert torch.allclose(found, torch.stack(expected), rtol=1e-3)


@pytest.mark.parametrize(("criterion", "images"), [(Taylor(8, 8), 8), (Hessian(1, 1), 1)])
def test_gradient_criteria_are_their_formulas(
    cnn4: nn.Module, few: Dataset, criterion: Criterion, images: int
) -> None:
    module, first = deepcopy(cnn4), replace(few, train=head(few.train, images))
    pixels = torch.from_numpy(first.normalize(first.train.images))
    loss = F.cross_entropy(module(pixels), torch.from_numpy(first.train.labels))
    weights = [module[0].weight, module[1].weight, module[4].weight]
    saliency = [
        (weight * grad).detach()
        for weight, grad in zip(weights, torch.autograd.grad(loss, weights), strict=True)
    ]
    if isinstance(criterion, Taylor):
        own = [
            saliency[0][at].sum() + saliency[1][at] + saliency[2][:, at].sum() for at in range(32)
        ]
        expected = torch.stack(own) ** 2
    else:
        squares = [each**2 for each in saliency]
        own = [squares[0][at].sum() + squares[1][at] + squares[2][:, at].sum() for at in range(32)]
        expected = torch.stack(own)
    found = scored(criterion, cnn4, first)["0"]
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-9)


def head(split: Split, count: int) -> Split:
    return Split(split.images[:count], split.labels[:count])


def test_gradients_come_from_the_train_split_alone(cnn4: nn.Module, few: Dataset) -> None:
    black = replace(few, val=Split(few.val.images * 0, few.val.labels), test=few.train)
    one, other = (scored(Taylor(32, 16), cnn4, dataset)["0"] for dataset in (few, black))
    assert torch.equal(one, other)


@pytest.mark.parametrize("criterion", [Taylor(32, 16), Random()], ids=["taylor", "random"])
def test_what_is_drawn_follows_the_seed(
    cnn4: nn.Module, few: Dataset, criterion: Criterion
) -> None:
    one, same, other = (scored(criterion, cnn4, few, seed)["0"] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", ALL)
def test_every_criterion_scores_every_channel_of_every_network(
    name: str, whole: nn.Module, few: Dataset
) -> None:
    criterion = ALL[name]
    if any(criterion.gradients):
        criterion = replace(criterion, images=4, batch_size=2)
    found = Pruning(criterion, "local", 8, few).find(deepcopy(whole))
    scores = scored(criterion, whole, few)
    assert {group.name: group.units for group in found.groups} == {
        name: len(own) for name, own in scores.items()
    }
    assert all(torch.isfinite(own).all() for own in scores.values())


@pytest.mark.parametrize("name", sorted(set(ALL) - {"random"}))
def test_channels_that_do_nothing_are_worth_the_least(
    name: str, cnn4: nn.Module, few: Dataset
) -> None:
    module, dead = deepcopy(cnn4), torch.arange(0, 32, 2)
    with torch.no_grad():
        for tensor in (module[0].weight, module[1].weight, module[1].bias):
            tensor[dead] = 0
        module[4].weight[:, dead] = 0
    own = scored(ALL[name], module, few)["0"]
    lowest = set(own.argsort(stable=True)[:16].tolist())
    if name != "fpgm":  # equal filters are replaceable, and so are these
        assert lowest == set(dead.tolist())
    else:
        assert own[dead].unique().numel() == 1


def test_gradients_and_frozen_weights_are_left_as_they_were(cnn4: nn.Module, few: Dataset) -> None:
    module = deepcopy(cnn4)
    module[0].weight.requires_grad_(False)
    Pruning(Taylor(8, 8), "local", 8, few).score(module, 0)
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not module[0].weight.requires_grad
    assert module[4].weight.requires_grad


def test_a_criterion_that_finds_nothing_to_score_says_where(few: Dataset) -> None:
    plain = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(16 * 900, 10))
    with pytest.raises(ConfigError, match=r"BatchNormScale, which finds nothing to score at 0;"):
        scored(BatchNormScale(), plain, few)


AMOUNTS = st.floats(0, 1, exclude_max=True)


def groups_of(sizes: list[tuple[int, int]]) -> PruningGroups:
    groups = [Group(str(at), units, width) for at, (units, width) in enumerate(sizes)]
    return PruningGroups(tuple(groups), {})


@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from([1, 2, 4])), min_size=1, max_size=5),
    st.integers(0, 5),
    st.integers(1, 16),
    st.sampled_from(SCOPES),
    AMOUNTS,
    AMOUNTS,
)
def test_a_larger_amount_never_keeps_more_of_any_group_in_any_scope(
    sizes: list[tuple[int, int]], seed: int, round_to: int, scope: str, first: float, second: float
) -> None:
    found = groups_of(sizes)
    generator = torch.Generator().manual_seed(seed)
    scores = {group.name: torch.rand(group.units, generator=generator) for group in found.groups}
    kept = [
        widths(found.groups, scores, amount, round_to, scope, found.widths)
        for amount in (0.0, *sorted((first, second)))
    ]
    for group in found.groups:
        step = -(-round_to // group.width)
        own = [keep[group.name] for keep in kept]
        assert own[0] == group.units
        assert all(more >= less for more, less in pairwise(own))
        assert all(width % step == 0 or width == group.units for width in own)
        assert min(own) >= min(step, group.units)


def test_a_global_ranking_takes_the_lowest_wherever_they_are() -> None:
    found = groups_of([(8, 1), (8, 1)])
    scores = {"0": torch.arange(8.0), "1": torch.arange(8.0) + 100}
    whole = found.widths
    assert widths(found.groups, scores, 0.375, 1, "global", whole) == {"0": 2, "1": 8}
    assert widths(found.groups, scores, 0.375, 1, "local", whole) == {"0": 5, "1": 5}


@pytest.mark.parametrize("scope", SCOPES)
def test_every_scope_prunes_a_whole_network(scope: str, whole: nn.Module, few: Dataset) -> None:
    module, pruning = deepcopy(whole), Pruning(Magnitude(2), scope, 8, few)
    cuts = pruning.prune(module, 0.5, pruning.score(module, 0))
    before, after = (sum(getattr(cut, side) for cut in cuts) for side in ("before", "after"))
    assert 0.4 <= after / before <= 0.6
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
