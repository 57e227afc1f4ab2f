"""Units of channels that must go together: a union-find over their labels."""

import numpy as np
import torch
from torch import Tensor

NOTHING = 0  # labels a number that comes from no channel, such as a pixel or a constant


class Units:
    """Sets of labels; a unit is named by one of its labels.

    A label is the positive number of a channel; `NOTHING` is never merged.
    """

    def __init__(self) -> None:
        self._parent = np.zeros(1, np.int64)
        self._reasons: dict[int, str] = {}

    def new(self, count: int) -> Tensor:
        """Return labels for new, separate channels, (count,)."""
        start = len(self._parent)
        labels = np.arange(start, start + count)
        self._parent = np.concatenate([self._parent, labels])
        return torch.from_numpy(labels.copy())

    def roots(self, labels: Tensor) -> Tensor:
        """Return the unit of every label, in the labels' shape."""
        units = labels.numpy()
        while True:
            above = self._parent[units]
            if np.array_equal(above, units):
                return torch.from_numpy(np.ascontiguousarray(units))
            units = above

    def merge(self, one: Tensor, other: Tensor) -> None:
        """Merge the units of labels pair by pair, after broadcasting them to one shape."""
        one, other = torch.broadcast_tensors(one, other)  # type: ignore[no-untyped-call]
        both = (one != NOTHING) & (other != NOTHING) & (one != other)
        size = len(self._parent)
        for pair in torch.unique(one[both] * size + other[both]).tolist():
            low, high = sorted((self._root(pair // size), self._root(pair % size)))
            self._parent[high] = low
            if high in self._reasons:
                self._reasons.setdefault(low, self._reasons.pop(high))

    def fix(self, labels: Tensor, reason: str) -> None:
        """Exclude the units of labels from pruning, for a reason."""
        for label in torch.unique(labels).tolist():
            if label != NOTHING:
                self._reasons.setdefault(self._root(label), reason)

    def reason(self, unit: int) -> str:
        """Return why a unit is excluded; empty if it is not."""
        return self._reasons.get(unit, "")

    def _root(self, label: int) -> int:
        while (above := int(self._parent[label])) != label:
            label = above
        return label
