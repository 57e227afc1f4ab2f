"""Stratified splits."""

from collections.abc import Mapping

import numpy as np

from paredown.dataset import Labels


def stratified_split(labels: Labels, fractions: tuple[float, ...], seed: int) -> list[np.ndarray]:
    """Split indices into parts with the same share of every class.

    Args:
        labels: (N,).
        fractions: Share of each part but the last, which takes the rest.
        seed: Draws which image goes where.

    Returns:
        One sorted index array per part; together they hold each index once.
    """
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in range(len(fractions) + 1)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        cuts = np.round(np.cumsum(fractions) * len(members)).astype(int)
        for part, chunk in zip(parts, np.split(members, cuts), strict=True):
            part.append(chunk)
    return [np.sort(np.concatenate(part)) for part in parts]


def draw_splits(labels: Labels, shares: Mapping[str, float], seed: int) -> dict[str, np.ndarray]:
    """Draw splits from training images, given the share of each class by the name of the split.

    Returns:
        Indices by the name of the split; those of `train`, the rest, in random order of class,
        since the first ones calibrate.
    """
    *parts, rest = stratified_split(labels, tuple(shares.values()), seed)
    order = np.random.default_rng(seed).permutation(rest)
    return {"train": order, **dict(zip(shares, parts, strict=True))}
