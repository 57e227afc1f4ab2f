"""Remove whole channels from a network, with everything that depends on them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.prune.criterion import Criterion
from paredown.prune.equivalence import proven
from paredown.prune.groups import Group, PruningGroups, remove
from paredown.prune.widths import Scores, Widths, widths


@dataclass(frozen=True)
class Cut:
    """The units removed from a group, by their indices before, and its channels."""

    name: str
    units: tuple[int, ...]
    before: int
    after: int


@dataclass(frozen=True)
class Pruning:
    """Selection and removal of channels.

    Args:
        criterion, scope, round_to: As in `pruner.ChannelPruner`.
        dataset: Networks are traced on its images; its train split yields gradients.
        keeps_frozen: Whether frozen layers keep their width, since fine-tuning would not fit them.
    """

    criterion: Criterion
    scope: str
    round_to: int
    dataset: Dataset
    keeps_frozen: bool = False

    def find(self, module: nn.Module) -> PruningGroups:
        """Find the groups of a network that can lose channels; see `equivalence.proven`."""
        images = torch.from_numpy(self.dataset.normalize(self.dataset.val.images[:2]))
        with _restored_requires_grad(module):
            prunable = proven(module, images)
        if not self.keeps_frozen:
            return prunable
        frozen = [group.name for group in prunable.groups if _is_frozen(group)]
        return prunable.without(frozen, "it is frozen, and fine-tuning would not fit it")

    def score(self, module: nn.Module, seed: int) -> Scores:
        """Score every unit of every group; raise ConfigError if the criterion cannot."""
        generator = torch.Generator().manual_seed(seed)
        images, size = self.criterion.gradients
        prunable = self.find(module)
        sums: dict[str, Tensor] = {}
        for _ in _backward(module, self.dataset, images, size, seed) if images else (None,):
            for group in prunable.groups:
                scores = self._score(group, generator)
                sums[group.name] = sums[group.name] + scores if group.name in sums else scores
        module.zero_grad(set_to_none=True)
        return sums

    def _score(self, group: Group, generator: torch.Generator) -> Tensor:
        scores = self.criterion.score(group, generator)
        if scores is None:
            name = type(self.criterion).__name__
            raise ConfigError(
                f"prune.criterion must score every layer, got {name}, which finds nothing to score "
                f"at {group.name}; prune/criterion=l2 always does"
            )
        return scores

    def prune(
        self,
        module: nn.Module,
        amount: float,
        scores: Scores,
        original: Widths | None = None,
        only: str = "",
    ) -> list[Cut]:
        """Remove the lowest units of every group, in place; modes and frozen weights stay.

        Args:
            module: Maps (N, C, H, W) to logits (N, classes); the classifier keeps its outputs.
            amount: Fraction of the channels of the whole network to remove, [0, 1).
            scores: Of the units that the module has.
            original: Channels of each group before any pruning; None: the current ones.
            only: Name of the one group to prune; empty: all.
        """
        with _restored_requires_grad(module):
            prunable = self.find(module)
            before = original or prunable.widths
            units = widths(prunable.groups, scores, amount, self.round_to, self.scope, before)
            chosen = []
            for group in prunable.groups:
                count = 0 if only not in ("", group.name) else group.units - units[group.name]
                chosen.append((group, scores[group.name].argsort(stable=True)[:count].tolist()))
            remove(module, chosen)
        return [
            Cut(group.name, tuple(gone), group.channels, group.channels - len(gone) * group.width)
            for group, gone in chosen
        ]

    def apply_same(self, module: nn.Module, cuts: Sequence[Cut]) -> None:
        """Remove the same units from another network of the same shape, in place."""
        units = {cut.name: cut.units for cut in cuts}
        with _restored_requires_grad(module):
            remove(module, [(group, units[group.name]) for group in self.find(module).groups])


def _is_frozen(group: Group) -> bool:
    weights = [part.weight for part in group.members if part.produces or part.side == "norm"]
    return any(weight is not None and not weight.requires_grad for weight in weights)


def _backward(
    module: nn.Module, dataset: Dataset, count: int, size: int, seed: int
) -> Iterator[None]:
    """Compute the loss's gradients of one batch of training images per iteration, in `grad`."""
    split = dataset.train
    order = np.random.default_rng(seed).permutation(len(split))[:count]
    for start in range(0, len(order), size):
        indices = order[start : start + size]
        with torch.enable_grad(), _restored_requires_grad(module):
            module.requires_grad_(True)
            logits = module(torch.from_numpy(dataset.normalize(split.images[indices])))
            module.zero_grad(set_to_none=True)
            loss = F.cross_entropy(logits, torch.from_numpy(split.labels[indices]))
            loss.backward()  # type: ignore[no-untyped-call]
        yield


@contextmanager
def _restored_requires_grad(module: nn.Module) -> Iterator[None]:
    """Restore `requires_grad` of every weight, by its name, on exit."""
    before = {name: weight.requires_grad for name, weight in module.named_parameters()}
    try:
        yield
    finally:
        for name, weight in module.named_parameters():
            weight.requires_grad_(before.get(name, weight.requires_grad))
