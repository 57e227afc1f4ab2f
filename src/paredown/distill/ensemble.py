"""Several teachers as one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Averages its members' logits: the normalized geometric mean of their probabilities.

    Source: Hinton, Vinyals, Dean, 2015, arXiv 1503.02531, section 2.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        return torch.stack([member(images) for member in self.members]).mean(dim=0)
