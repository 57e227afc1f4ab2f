"""How one pile of images is divided into splits."""

import numpy as np

from paredown.dataset import Labels


def stratify(labels: Labels, fractions: tuple[float, ...], seed: int) -> list[np.ndarray]:
    """Split indices so that each part holds the same share of every class.

    Args:
        labels: (N,).
        fractions: Share of each part but the last, which takes the rest.
        seed: Draws which image goes where.

    Returns:
        One sorted index array a part; together they hold each index once.
    """
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in range(len(fractions) + 1)]
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        cuts = np.round(np.cumsum(fractions) * len(members)).astype(int)
        for part, chunk in zip(parts, np.split(members, cuts), strict=True):
            part.append(chunk)
    return [np.sort(np.concatenate(part)) for part in parts]
