"""Criteria that estimate the change of the loss, by gradients over training images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from paredown.errors import require
from paredown.prune.criterion import SCOPES, total, weight_rows

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from paredown.prune.groups import Group, GroupMember


@dataclass(frozen=True)
class _Gradient:
    """Settings of gradient criteria.

    Args:
        images: Of the train split, drawn by the stage's seed, at least 1.
        batch_size: Images per gradient, at least 1.
    """

    scopes: ClassVar[tuple[str, ...]] = SCOPES

    images: int
    batch_size: int

    def __post_init__(self) -> None:
        require(self.images >= 1, "images", "be at least 1", self.images)
        require(self.batch_size >= 1, "batch_size", "be at least 1", self.batch_size)

    @property
    def gradients(self) -> tuple[int, int]:
        """As configured."""
        return self.images, self.batch_size


@dataclass(frozen=True)
class Taylor(_Gradient):
    """First order: the squared change of the loss without the unit, averaged over batches.

    score(u) = mean over batches of (sum over u's weights of gradient * weight)^2

    Source: Molchanov et al., Importance Estimation for Neural Network Pruning, 2019,
    arXiv 1906.10771, equation 8.
    """

    def score(self, group: "Group", generator: "Generator") -> "Tensor | None":
        """Score by one batch's gradients."""
        return total(group, lambda layer: _gradient(layer) * weight_rows(layer), power=2)


@dataclass(frozen=True)
class Hessian(_Gradient):
    """Second order, with squared gradients for the Hessian's diagonal.

    score(u) = mean over batches of the sum over u's weights of gradient^2 * weight^2

    Source: LeCun, Denker, Solla, Optimal Brain Damage, NIPS 1989; the squares: Theis et al.,
    Faster gaze prediction with dense networks and Fisher pruning, 2018, arXiv 1801.05787.
    """

    def score(self, group: "Group", generator: "Generator") -> "Tensor | None":
        """Score by one batch's gradients."""
        return total(group, lambda layer: (_gradient(layer) * weight_rows(layer)) ** 2)


def _gradient(layer: "GroupMember") -> "Tensor":
    import torch

    weight = layer.weight
    assert weight is not None  # `total` skips those
    # a layer that no image reaches, such as an auxiliary head, has none
    return layer.rows_of(torch.zeros_like(weight) if weight.grad is None else weight.grad)
