"""What the techniques of the stage `prune` have in common: they check, and they recover."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from paredown.errors import require
from paredown.training import Training
from paredown.training.recovery import Recovery
from paredown.variant import Build, Context, Variant

if TYPE_CHECKING:
    from paredown.prune.channels import Pruning


@dataclass(frozen=True)
class Pruner(Recovery):
    """A technique that takes something from a network and fine-tunes what is left."""

    source: ClassVar[None] = None
    numerics: ClassVar[None] = None

    def check(self, build: Build, context: Context, before: Training | None) -> None:
        """Raise ConfigError if the stage cannot work on a network; see `variant.Checks`."""
        from paredown.prune.network import require_fixed_flow, require_groups

        network = build()
        require_fixed_flow(network, context.dataset)
        pruning = self.pruning(context)
        if pruning is not None:
            require_groups(network, pruning)

    def pruning(self, context: Context) -> "Pruning | None":
        """Say how whole channels are chosen, if they are."""
        return None


def require_amount(amount: float) -> None:
    """Raise ConfigError unless an amount is a fraction that can be removed."""
    require(0 <= amount < 1, "amount", "lie in [0, 1)", amount, "0 keeps them all")


def unchanged(variant: Variant) -> Variant:
    """Give a variant on as it is, for amount 0."""
    return replace(variant, curves=(), facts={})
