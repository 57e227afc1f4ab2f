"""The Criterion contract: what a channel is worth. The lowest go."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol

from paredown.errors import require, require_one_of

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from paredown.prune.groups import Group, Slice

SCOPES = ("local", "global", "isomorphic")


class Criterion(Protocol):
    """A node of conf/prune/criterion."""

    scopes: ClassVar[tuple[str, ...]]
    """Over which layers its scores can be ranked."""

    @property
    def gradients(self) -> tuple[int, int]:
        """How many training images it wants gradients of, and how many at a time; (0, 0): none."""
        ...

    def score(self, group: "Group", generator: "Generator") -> "Tensor | None":
        """Score every unit of a group: (units,); None if it has nothing to tell them apart.

        Args:
            group: The weights' `grad` is the loss's over one batch, if `gradients` asks for it;
                the scores of all batches are averaged.
            generator: Seeded.
        """
        ...


def ranked(criterion: Criterion, scope: str | None) -> str:
    """Say over which layers scores are ranked; the criterion's first scope if none is asked."""
    return criterion.scopes[0] if scope is None else scope


def require_scope(criterion: Criterion, scope: str | None) -> None:
    """Raise ConfigError for a scope that there is not, or that a criterion's scores do not suit."""
    if scope is not None:
        require_one_of(SCOPES, "scope", scope)
        rule = f"be {' or '.join(criterion.scopes)} for {type(criterion).__name__}"
        require(scope in criterion.scopes, "scope", rule, scope)


def total(
    group: "Group", number: "Callable[[Slice], Tensor | None]", power: float = 1
) -> "Tensor | None":
    """Add up what every layer of a group tells of each unit.

    Args:
        group: The layers.
        number: Gives (R, n) numbers of a slice's rows, or None to leave it out.
        power: That a unit's sum is raised to.
    """
    import torch

    found: Tensor | None = None
    with torch.no_grad():
        for each in group.slices:
            numbers = None if each.weight is None else number(each)
            if numbers is not None:
                if found is None:
                    found = torch.zeros(group.units, device=numbers.device)
                found.index_add_(0, each.units.to(numbers.device), numbers.sum(dim=1).float())
        return found if found is None else found**power


def relative(scores: "Tensor | None") -> "Tensor | None":
    """Divide by the mean, so that layers of different size and scale can be ranked together."""
    if scores is None:
        return None
    return scores / scores.mean().clamp(min=1e-30)
