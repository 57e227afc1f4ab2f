"""Techniques that fill the stage `distill`: a small network learns from a large one."""

import numpy as np

from paredown.dataset import Dataset
from paredown.errors import require

MOST = 100  # views; a number above is a slip


def require_views(views: int | None) -> None:
    """Raise ConfigError for a number of views that cannot be."""
    some = views is None or 1 <= views <= MOST
    require(some, "views", f"lie in 1..{MOST}, or null for fresh ones every time", views)


def check_views(views: int | None, dataset: Dataset) -> None:
    """Raise ConfigError if a data set shows its images in ways that cannot be kept."""
    if views is None:
        return
    key, rule = "distill.views", "be null where training {}, which is never the same twice"
    require(not dataset.mixup, key, rule.format(f"blends images (mixup={dataset.mixup:g})"), views)
    images = dataset.train.images
    crops = not isinstance(images, np.ndarray) and images.crops
    require(not crops, key, rule.format("crops images at random (dataset.area below 1)"), views)
