"""A contract that every classifier of torchvision keeps when it is pruned; see docs/zoo.md."""

import gc
from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from zoo import QUICK, WHOLE

from paredown import model
from paredown.dataset import Dataset, Split
from paredown.measure import footprint
from paredown.model import ModelSource
from paredown.model.torchvision import Torchvision
from paredown.prune.channels import Cut, Pruning
from paredown.prune.criterion.magnitude import Magnitude
from paredown.prune.groups import PruningGroups
from paredown.prune.masks import channel_masks, masked
from paredown.prune.widths import kept_channels
from paredown.runtime.onnxruntime import OnnxRuntime
from paredown.variant import Variant

AMOUNTS = (0.0, 0.3, 0.5, 0.7, 0.9)
ROUND_TO = 8
LOWERED = (0.5, 0.9)  # widths of many kinds, and the least; an export takes most of the time

pytestmark = pytest.mark.filterwarnings(
    "ignore:Memory efficient kernel not used", "ignore:.*does not have a deterministic"
)


def noise(size: int) -> Dataset:
    """Random images of a size, without meaning."""
    rng = np.random.default_rng(0)
    shape = (4, 3, size, size)
    split = Split(rng.integers(0, 256, shape, dtype=np.uint8), np.arange(4))
    names = tuple("abcdefghij")
    return Dataset("noise", split, split, split, names, (0.5,) * 3, (0.25,) * 3)


def warm(source: ModelSource, dataset: Dataset) -> nn.Module:
    """Build a network, untrained, whose norms fit its activations."""
    torch.manual_seed(0)
    module = source.build(10, dataset.input_shape)
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    for part in norms:
        nn.init.uniform_(part.weight, 0.5, 1.5)
        nn.init.uniform_(part.bias, -0.5, 0.5)
        part.momentum = 1.0
    shown = np.random.default_rng(1).integers(0, 256, (16, *dataset.input_shape), dtype=np.uint8)
    with torch.no_grad():
        module.train()(torch.from_numpy(dataset.normalize(shown)))
    for part in norms:
        part.running_var.clamp_(min=1e-2)  # of one pixel it is 0
        part.momentum = 0.1
    return module.eval()


def walk(name: str, size: int, lowered: Sequence[float], folder: Path) -> list[tuple[int, int]]:
    """Prune a network by every amount, and check all that is promised of each.

    Gives parameters and MACs at every amount.

    Args:
        name: As torchvision knows it.
        size: Of an image, in pixels.
        lowered: Amounts at which it is lowered; it is saved and reloaded at all.
        folder: For both.
    """
    dataset, source = noise(size), Torchvision(name)
    whole = warm(source, dataset)
    images = torch.from_numpy(dataset.normalize(dataset.val.images))
    with torch.inference_mode():
        expected = whole(images)
    pruning = Pruning(Magnitude(2), "local", ROUND_TO, dataset)
    scored = deepcopy(whole)
    scores = pruning.score(scored, 0)
    found = pruning.find(scored)
    costs = []
    for amount in AMOUNTS:
        module = deepcopy(whole)
        cuts = pruning.prune(module, amount, scores)
        with torch.inference_mode():
            logits = module(images)
        assert logits.shape == expected.shape
        if amount == 0:
            assert torch.equal(logits, expected)
        require_widths(found, cuts, amount)
        costs.append((footprint.params(module), footprint.macs(module, dataset.input_shape)))
        require_same_after_reload(module, source, dataset, logits, folder / f"saved{amount}")
        if amount in lowered:
            require_same_when_lowered(module, source, dataset, folder / f"lowered{amount}")
        if amount == 0.5 and not normed_together(found):
            require_same_as_masked(scored, found, cuts, images, logits)
        del module
        gc.collect()
    return costs


def fall(costs: list[tuple[int, int]]) -> bool:
    """Tell whether parameters and MACs are fewer at every amount than at the one before."""
    pairs = list(pairwise(costs))
    return len(pairs) > 0 and all(b[0] < a[0] and b[1] < a[1] for a, b in pairs)


def require_widths(found: PruningGroups, cuts: list[Cut], amount: float) -> None:
    for group, cut in zip(found.groups, cuts, strict=True):
        step = group.width * (1 if group.attention else -(-ROUND_TO // group.width))
        asked = cut.before * (1 - amount)
        least = min(step, cut.before)
        assert abs(cut.after - asked) <= step or cut.after == least, (cut, asked)
        assert cut.after % step == 0 or cut.after == cut.before
        assert least <= cut.after <= cut.before
        units = group.units
        assert cut.after == group.width * kept_channels(units, amount, step // group.width)


def require_same_after_reload(
    module: nn.Module, source: ModelSource, dataset: Dataset, logits: torch.Tensor, folder: Path
) -> None:
    folder.mkdir()
    model.save(module, source, 10, dataset.input_shape, folder)
    loaded, _ = model.load(folder)
    images = torch.from_numpy(dataset.normalize(dataset.val.images))
    with torch.inference_mode():  # the same layout of memory gives the same sums
        assert torch.equal(loaded.to(memory_format=torch.contiguous_format)(images), logits)
    for file in folder.iterdir():
        file.unlink()


def require_same_when_lowered(
    module: nn.Module, source: ModelSource, dataset: Dataset, folder: Path
) -> None:
    folder.mkdir()
    runtime = OnnxRuntime(name="onnxruntime", threads=1)
    runtime.lower(Variant(module, source), dataset, folder)
    images = dataset.normalize(dataset.val.images)
    with torch.inference_mode():
        expected = module(torch.from_numpy(images)).numpy()
    found = runtime.load(folder)(images)
    near = 1e-4 * max(1.0, np.abs(expected).max())
    if np.abs(found - expected).max() > near:  # float32 itself is no nearer in a deep network
        with torch.inference_mode():
            exact = deepcopy(module).double()(torch.from_numpy(images).double()).numpy()
        assert np.abs(found - exact).max() <= 2 * np.abs(expected - exact).max()
    for file in folder.iterdir():
        file.unlink()


def normed_together(found: PruningGroups) -> bool:
    """Tell whether a norm looks at several channels of a group at once: zeros would count."""
    return any(
        isinstance(member.layer, nn.LayerNorm | nn.GroupNorm)
        for group in found.groups
        for member in group.members
    )


def require_same_as_masked(
    module: nn.Module,
    found: PruningGroups,
    cuts: list[Cut],
    images: torch.Tensor,
    logits: torch.Tensor,
) -> None:
    """Compare with zeros in the place of what went: nothing else may have been wired anew."""
    masks = channel_masks(found.groups, {cut.name: cut.units for cut in cuts})
    with torch.inference_mode(False), masked(module, masks), torch.no_grad():
        zeroed = module(images)
    assert torch.allclose(zeroed, logits, atol=1e-3 * max(1.0, float(logits.abs().max())))


@pytest.mark.parametrize("name", QUICK)
def test_four_kinds_of_network_keep_the_contract(name: str, tmp_path: Path) -> None:
    assert fall(walk(name, QUICK[name], LOWERED[:1], tmp_path))


@pytest.mark.zoo
@pytest.mark.parametrize("name", sorted({**QUICK, **WHOLE}))
def test_every_network_keeps_the_contract(name: str, tmp_path: Path) -> None:
    assert fall(walk(name, {**QUICK, **WHOLE}[name], LOWERED, tmp_path))


def test_the_table_names_every_network_and_what_stays() -> None:
    table = (Path(__file__).parents[1] / "docs" / "zoo.md").read_text()
    assert len({**QUICK, **WHOLE}) >= 30
    for name in {**QUICK, **WHOLE}:
        assert f"| {name} |" in table
