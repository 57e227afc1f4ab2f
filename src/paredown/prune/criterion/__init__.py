"""The Criterion contract: scores of channels. The lowest go."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol

from paredown.errors import require, require_one_of

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from paredown.prune.groups import Group, GroupMember

SCOPES = ("local", "global", "isomorphic")


class Criterion(Protocol):
    """A node of conf/prune/criterion."""

    scopes: ClassVar[tuple[str, ...]]
    """The scopes over which its scores can be ranked, the default first."""

    @property
    def gradients(self) -> tuple[int, int]:
        """The training images whose gradients it needs, in all and per batch; (0, 0): none."""

    def score(self, group: "Group", generator: "Generator") -> "Tensor | None":
        """Return a score per unit of a group, (units,); None if it cannot score the group.

        Args:
            group: The weights' `grad` is the loss's over one batch, if `gradients` asks for it;
                scores are summed over batches.
            generator: Seeded.
        """


def require_scope(criterion: Criterion, scope: str | None) -> None:
    """Raise ConfigError for an unknown scope, or one that does not suit the criterion."""
    if scope is not None:
        require_one_of(SCOPES, "scope", scope)
        rule = f"be {' or '.join(criterion.scopes)} for {type(criterion).__name__}"
        require(scope in criterion.scopes, "scope", rule, scope)


def total(
    group: "Group", numbers: "Callable[[GroupMember], Tensor | None]", power: float = 1
) -> "Tensor | None":
    """Sum numbers (R, n) of the rows of a group's layers per unit, raised to a power: (units,).

    Layers without a weight, or for which `numbers` returns None, are skipped.
    """
    import torch

    sums: Tensor | None = None
    with torch.no_grad():
        for layer in group.members:
            values = None if layer.weight is None else numbers(layer)
            if values is not None:
                if sums is None:
                    sums = torch.zeros(group.units, device=values.device)
                sums.index_add_(0, layer.units.to(values.device), values.sum(dim=1).float())
        return sums if sums is None else sums**power


def relative(scores: "Tensor | None") -> "Tensor | None":
    """Divide by the mean, so that layers of different size and scale can be ranked together."""
    if scores is None:
        return None
    return scores / scores.mean().clamp(min=1e-30)


def weight_rows(layer: "GroupMember") -> "Tensor":
    """Return the weights of a layer's rows, (R, n)."""
    assert layer.weight is not None  # `total` skips those
    return layer.rows_of(layer.weight.detach())
