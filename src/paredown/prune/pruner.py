"""Base classes of the techniques for the stage `prune`: checks and fine-tuning."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from paredown.errors import require
from paredown.prune.criterion import Criterion, require_scope
from paredown.prune.outline import require_rounding
from paredown.training import Training
from paredown.training.finetune import FineTuning
from paredown.variant import Build, Context, Variant

if TYPE_CHECKING:
    from paredown.prune.channels import Pruning


@dataclass(frozen=True)
class Pruner(FineTuning):
    """A technique that removes or zeroes weights and fine-tunes the rest."""

    source: ClassVar[None] = None
    numerics: ClassVar[None] = None

    def check(self, build: Build, context: Context, before: Training | None) -> None:
        """Raise ConfigError if the network's control flow depends on data; see `variant.Checks`."""
        from paredown.prune.network import require_fixed_flow

        require_fixed_flow(build(), context.dataset)


@dataclass(frozen=True)
class ChannelPruner(Pruner):
    """A technique that selects whole channels.

    Args:
        criterion: Scores the channels.
        scope: What is ranked together: the channels of one layer (local), of all (global), or of
            all layers that are made alike (isomorphic); null: the first that suits the criterion.
        round_to: Remaining channels are a multiple of this.
    """

    criterion: Criterion
    scope: str | None
    round_to: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_scope(self.criterion, self.scope)
        require(self.round_to >= 1, "round_to", "be at least 1 channel", self.round_to)

    def check_cheaply(self, outline: Build, before: Training | None) -> None:
        """Raise ConfigError if no layer is wider than `round_to`; see `variant`."""
        require_rounding(self.round_to, outline)

    def check(self, build: Build, context: Context, before: Training | None) -> None:
        """Raise ConfigError if no channel of the network can go; see `variant.Checks`."""
        from paredown.prune.network import require_fixed_flow, require_groups

        network = build()
        require_fixed_flow(network, context.dataset)
        require_groups(network, self.pruning(context))

    def pruning(self, context: Context) -> "Pruning":
        """Return how channels are selected and removed."""
        from paredown.prune.channels import Pruning

        scope = self.criterion.scopes[0] if self.scope is None else self.scope
        return Pruning(self.criterion, scope, self.round_to, context.dataset, self.epochs > 0)


def require_amount(amount: float) -> None:
    """Raise ConfigError unless an amount lies in [0, 1)."""
    require(0 <= amount < 1, "amount", "lie in [0, 1)", amount, "0 keeps them all")


def unchanged(variant: Variant | None) -> Variant:
    """Return the variant with an untouched network, for amount 0."""
    assert variant is not None
    return replace(variant, curves=(), facts={})
