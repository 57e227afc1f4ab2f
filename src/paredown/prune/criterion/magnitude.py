"""Criteria on the weights alone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from paredown.errors import require
from paredown.prune.criterion import SCOPES, relative, total, weight_rows

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from paredown.prune.groups import Group, GroupMember


class _WithoutGradients:
    scopes: ClassVar[tuple[str, ...]] = SCOPES
    gradients: ClassVar[tuple[int, int]] = (0, 0)


@dataclass(frozen=True)
class Magnitude(_WithoutGradients):
    """Sum of |weight|^power over all layers of the group, relative to the group's mean.

    Source: Li et al., Pruning Filters for Efficient ConvNets, 2016, arXiv 1608.08710; groups:
    Fang et al., DepGraph, 2023, arXiv 2301.12900.

    Args:
        power: 1 is L1, 2 is L2; above 0.
    """

    power: float

    def __post_init__(self) -> None:
        require(0 < self.power < 100, "power", "lie in (0, 100)", self.power)

    def score(self, group: "Group", generator: "Generator") -> "Tensor | None":
        """Score by magnitude."""
        return relative(total(group, lambda layer: weight_rows(layer).abs() ** self.power))


@dataclass(frozen=True)
class BatchNormScale(_WithoutGradients):
    """Magnitude of the batch norm's factor, comparable between layers without scaling.

    Source: Liu et al., Learning Efficient Convolutional Networks through Network Slimming, 2017,
    arXiv 1708.06519.
    """

    def score(self, group: "Group", generator: "Generator") -> "Tensor | None":
        """Score by the batch norms of the group; None if it has none."""
        from torch import nn

        kind = nn.modules.batchnorm._BatchNorm

        def factors(member: "GroupMember") -> "Tensor | None":
            return weight_rows(member).abs() if isinstance(member.layer, kind) else None

        return total(group, factors)


@dataclass(frozen=True)
class Lamp(_WithoutGradients):
    """Squared magnitude, divided by the sum of those that are not smaller.

    score(u) = w(u)^2 / sum of w(v)^2 over all v of the layer with w(v)^2 >= w(u)^2

    Source: Lee et al., Layer-adaptive Sparsity for the Magnitude-based Pruning, 2020,
    arXiv 2010.07611.
    """

    scopes: ClassVar[tuple[str, ...]] = ("global", "isomorphic")  # local equals L2

    def score(self, group: "Group", generator: "Generator") -> "Tensor | None":
        """Score by magnitude relative to the layer's larger channels."""
        import torch

        squares = total(group, lambda layer: weight_rows(layer) ** 2)
        if squares is None:
            return None
        order = squares.argsort()
        sums = squares[order].flip(0).cumsum(0).flip(0)  # of each and all that are larger
        return torch.empty_like(squares).scatter_(0, order, squares[order] / sums)


@dataclass(frozen=True)
class GeometricMedian(_WithoutGradients):
    """Sum of a filter's distances to the other filters of its layer; the most redundant goes.

    Source: He et al., Filter Pruning via Geometric Median, 2018, arXiv 1811.00250.
    """

    scopes: ClassVar[tuple[str, ...]] = ("local",)  # distances say nothing about other layers

    def score(self, group: "Group", generator: "Generator") -> "Tensor | None":
        """Score by distance."""
        import torch

        def distances(layer: "GroupMember") -> "Tensor | None":
            filters = weight_rows(layer)
            return torch.cdist(filters, filters) if layer.produces else None

        return total(group, distances)


@dataclass(frozen=True)
class Random(_WithoutGradients):
    """Random scores, seeded by the stage: the control for every other criterion."""

    def score(self, group: "Group", generator: "Generator") -> "Tensor | None":
        """Score at random."""
        import torch

        return torch.rand(group.units, generator=generator)
