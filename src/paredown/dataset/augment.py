"""Augmentation of training images: shift, mirror, and blend with one another (mixup)."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from paredown.errors import require

Images = NDArray[np.uint8]
Batch = NDArray[np.float32]
Indices = slice | NDArray[np.int64]
"""Images of a split: a range, or an array of indices."""


def check(crop: int, mixup: float, size: int) -> None:
    """Raise ConfigError for settings out of range; `size` is the side of an image in pixels."""
    require(0 <= crop <= size // 2, "crop", f"lie in 0..{size // 2} pixels", crop)
    require(0 <= mixup < math.inf, "mixup", "be at least 0", mixup, "0.2 is usual, 0 blends none")


class AugmentParams(NamedTuple):
    """How each of N images is augmented.

    Args:
        shifts: Down and right, 0 to 2 * crop with crop as the middle, (2, N); None: no shift.
        mirrored: Left to right, (N,); None: no mirroring.
    """

    shifts: NDArray[np.int64] | None
    mirrored: NDArray[np.bool_] | None

    def take(self, indices: Indices) -> "AugmentParams":
        """Return the parameters of some of the images."""
        return AugmentParams(
            None if self.shifts is None else self.shifts[:, indices],
            None if self.mirrored is None else self.mirrored[indices],
        )


def sample_params(count: int, crop: int, flip: bool, rng: np.random.Generator) -> AugmentParams:
    """Sample shifts of up to `crop` pixels in both directions, and which half is mirrored."""
    shifts = rng.integers(0, 2 * crop + 1, size=(2, count)) if crop else None
    return AugmentParams(shifts, rng.random(count) < 0.5 if flip else None)


def apply(images: Images, crop: int, params: AugmentParams) -> Images:
    """Shift and mirror each image, (N, C, H, W); shifts fill with black."""
    if params.shifts is not None:
        count, _, height, width = images.shape
        padded = np.pad(images, ((0, 0), (0, 0), (crop, crop), (crop, crop)))
        top, left = params.shifts[..., None]
        rows, columns = top + np.arange(height), left + np.arange(width)
        pixels = np.arange(count)[:, None, None], slice(None), rows[:, :, None], columns[:, None]
        images = padded[pixels].transpose(0, 3, 1, 2)  # fancy indices put the channels last
    if params.mirrored is not None:
        images = np.where(params.mirrored[:, None, None, None], images[..., ::-1], images)
    return images


def blend(
    images: Batch, one_hot: NDArray[np.float32], mixup: float, rng: np.random.Generator
) -> tuple[Batch, NDArray[np.float32]]:
    """Blend each image and its label with another one of the batch.

    share * one + (1 - share) * other, share ~ Beta(mixup, mixup), drawn per image. A teacher is
    shown the blended images, so its soft targets need no blending.

    Source: Zhang, Cisse, Dauphin, Lopez-Paz, mixup, 2017, arXiv 1710.09412.

    Args:
        images: Normalized, (N, C, H, W).
        one_hot: Labels, (N, classes).
        mixup: The distribution's parameter, > 0: small values leave most images nearly unchanged.
        rng: Draws shares and partners.
    """
    count = len(images)
    share = rng.beta(mixup, mixup, (count, 1)).astype(np.float32)
    other = rng.permutation(count)
    wide = share[:, :, None, None]
    return (
        wide * images + (1 - wide) * images[other],
        share * one_hot + (1 - share) * one_hot[other],
    )
