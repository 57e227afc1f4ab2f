"""Techniques for the stage `distill`: a small network learns from a large one."""

import math

import numpy as np

from paredown.dataset import Dataset
from paredown.errors import require

MAX_VIEWS = 100  # anything larger is surely a typo


def require_settings(temperature: float, alpha: float, views: int | None) -> None:
    """Raise ConfigError if a setting of distillation is out of range."""
    hint = "1 leaves logits as they are"
    require(0 < temperature < math.inf, "temperature", "be above 0", temperature, hint)
    require(0 <= alpha <= 1, "alpha", "lie in [0, 1]", alpha)
    valid = views is None or 1 <= views <= MAX_VIEWS
    require(valid, "views", f"lie in 1..{MAX_VIEWS}, or null for fresh ones every time", views)


def check_views(views: int | None, dataset: Dataset) -> None:
    """Raise ConfigError if a data set's augmentation cannot be repeated for stored views."""
    if views is None:
        return
    key, rule = "distill.views", "be null where training {}, which is never the same twice"
    require(not dataset.mixup, key, rule.format(f"blends images (mixup={dataset.mixup:g})"), views)
    images = dataset.train.images
    crops = not isinstance(images, np.ndarray) and images.crops
    require(not crops, key, rule.format("crops images at random (dataset.area below 1)"), views)
