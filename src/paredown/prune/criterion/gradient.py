"""Criteria that ask how much the loss would change, by gradients over training images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from paredown.errors import require
from paredown.prune.criterion import SCOPES, total

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from paredown.prune.groups import Group, Slice


@dataclass(frozen=True)
class _Gradient:
    """What both have in common.

    Args:
        images: Of the train split, drawn by the stage's seed, at least 1.
        batch_size: Images a gradient, at least 1.
    """

    scopes: ClassVar[tuple[str, ...]] = SCOPES

    images: int
    batch_size: int

    def __post_init__(self) -> None:
        for name in ("images", "batch_size"):
            value = getattr(self, name)
            require(value >= 1, name, "be at least 1", value)

    @property
    def gradients(self) -> tuple[int, int]:
        """As the settings say."""
        return self.images, self.batch_size


@dataclass(frozen=True)
class Taylor(_Gradient):
    """First order: what the loss would lose with the unit, squared, averaged over batches.

    score(u) = mean over batches of (sum over u's weights of gradient * weight)^2

    Source: Molchanov et al., Importance Estimation for Neural Network Pruning, 2019,
    arXiv 1906.10771, equation 8.
    """

    def score(self, group: "Group", generator: "Generator") -> "Tensor | None":
        """Score by one batch's gradients."""
        return total(group, lambda each: _gradient(each) * _weight(each), power=2)


@dataclass(frozen=True)
class Hessian(_Gradient):
    """Second order, with squared gradients for the Hessian's diagonal.

    score(u) = mean over batches of the sum over u's weights of gradient^2 * weight^2

    Source: LeCun, Denker, Solla, Optimal Brain Damage, NIPS 1989; the squares: Theis et al.,
    Faster gaze prediction with dense networks and Fisher pruning, 2018, arXiv 1801.05787.
    """

    def score(self, group: "Group", generator: "Generator") -> "Tensor | None":
        """Score by one batch's gradients."""
        return total(group, lambda each: (_gradient(each) * _weight(each)) ** 2)


def _weight(each: "Slice") -> "Tensor":
    weight = each.weight
    assert weight is not None  # `total` leaves those out
    return each.of(weight.detach())


def _gradient(each: "Slice") -> "Tensor":
    import torch

    weight = each.weight
    assert weight is not None  # `total` leaves those out
    # a layer that no image reaches, such as an auxiliary head, has none
    return each.of(torch.zeros_like(weight) if weight.grad is None else weight.grad)
