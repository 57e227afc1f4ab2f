"""Channels zeroed and left where they are, as `torch.nn.utils.prune` does it."""

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from paredown.errors import require
from paredown.prune.criterion import Criterion, ranked, require_scope
from paredown.prune.outline import require_rounding
from paredown.prune.pruner import Pruner, require_amount, unchanged
from paredown.training import Training
from paredown.variant import Build, Context, Variant

if TYPE_CHECKING:
    from paredown.prune.channels import Pruning


@dataclass(frozen=True)
class Masked(Pruner):
    """Zero the channels that `prune=structured` would remove, and recover.

    The file keeps its shape, its bytes and its speed: this is what many tables call pruning.

    Args:
        criterion: Scores the channels.
        amount: Fraction of the channels, [0, 1).
        scope: What is ranked together: local, global or isomorphic; null: what suits the
            criterion.
        round_to: Channels that are not zeroed are a multiple of this.
    """

    note: ClassVar[str] = "shape unchanged"

    criterion: Criterion
    amount: float
    scope: str | None
    round_to: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_amount(self.amount)
        require_scope(self.criterion, self.scope)
        require(self.round_to >= 1, "round_to", "be at least 1 channel", self.round_to)

    @property
    def label(self) -> str:
        """Such as masked0.30."""
        return f"masked{self.amount:.2f}"

    def check_cheaply(self, outline: Build, before: Training | None) -> None:
        """Raise ConfigError if no network of these shapes would do; see `variant`."""
        require_rounding(self.round_to, outline)

    def pruning(self, context: Context) -> "Pruning":
        """Say how channels are chosen."""
        from paredown.prune.channels import Pruning

        scope = ranked(self.criterion, self.scope)
        frozen = self.epochs > 0
        return Pruning(self.criterion, scope, self.round_to, context.dataset, frozen)

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return a copy of the variant's network with zeros in it, fine-tuned around them."""
        from paredown.prune.masks import channel_masks, masked

        assert variant is not None
        if self.amount == 0:
            return unchanged(variant)
        module, pruning = copy.deepcopy(variant.module), self.pruning(context)
        scores = pruning.score(module, context.seed)
        smaller = copy.deepcopy(module)  # it tells which go
        units = {cut.name: cut.units for cut in pruning.prune(smaller, self.amount, scores)}
        with masked(module, channel_masks(pruning.find(module).groups, units)):
            curves = self.recover(module, context, self.epochs)
        return replace(variant, module=module, curves=curves, facts={})
