"""Channels zeroed in place, as `torch.nn.utils.prune` does it."""

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from paredown.prune.pruner import ChannelPruner, require_amount, unchanged
from paredown.variant import Context, Variant

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Masked(ChannelPruner):
    """Zero the channels that `prune=structured` would remove, then fine-tune.

    The file keeps its shape, its bytes and its speed: many tables call this pruning.

    Args:
        amount: Fraction of the channels, [0, 1).
    """

    note: ClassVar[str] = "shape unchanged"

    amount: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require_amount(self.amount)

    @property
    def label(self) -> str:
        """Such as masked0.30."""
        return f"masked{self.amount:.2f}"

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return a copy of the variant's network with zeros in it, fine-tuned around them."""
        if self.amount == 0:
            return unchanged(variant)
        return self.finetuned(variant, context, lambda module: self._masked(module, context))

    def _masked(self, module: "nn.Module", context: Context) -> AbstractContextManager[None]:
        from paredown.prune.masks import channel_masks, masked

        pruning = self.pruning(context)
        scores = pruning.score(module, context.seed)
        cuts = pruning.prune(copy.deepcopy(module), self.amount, scores)
        units = {cut.name: cut.units for cut in cuts}
        return masked(module, channel_masks(pruning.find(module).groups, units))
