"""How training shows images: shifted, mirrored, and blended with one another."""

import math

import numpy as np
from numpy.typing import NDArray

from paredown.errors import require

Images = NDArray[np.uint8]
Batch = NDArray[np.float32]


def check(crop: int, mixup: float, size: int) -> None:
    """Raise ConfigError for what cannot work.

    Args:
        crop: As in `shift`.
        mixup: As in `blend`; 0 for none.
        size: Of an image's side, in pixels.
    """
    require(0 <= crop <= size // 2, "crop", f"lie in 0..{size // 2} pixels", crop)
    require(0 <= mixup < math.inf, "mixup", "be at least 0", mixup, "0.2 is usual, 0 blends none")


def shift(images: Images, crop: int, rng: np.random.Generator) -> Images:
    """Move each image by up to `crop` pixels in both directions; black comes in.

    Args:
        images: (N, C, H, W).
        crop: At least 1.
        rng: Draws the shifts.
    """
    count, _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (crop, crop), (crop, crop)))
    top, left = rng.integers(0, 2 * crop + 1, size=(2, count, 1))
    rows, columns = top + np.arange(height), left + np.arange(width)
    pick = np.arange(count)[:, None, None], slice(None), rows[:, :, None], columns[:, None]
    return padded[pick].transpose(0, 3, 1, 2)  # fancy indices put the channels last


def mirror(images: Images, rng: np.random.Generator) -> Images:
    """Mirror half of the images, (N, C, H, W), left to right."""
    mirrored = rng.random((len(images), 1, 1, 1)) < 0.5
    return np.where(mirrored, images[..., ::-1], images)


def blend(
    images: Batch, sure: NDArray[np.float32], mixup: float, rng: np.random.Generator
) -> tuple[Batch, NDArray[np.float32]]:
    """Blend each image, and what it shows, with another one of the batch.

    share * one + (1 - share) * other, share ~ Beta(mixup, mixup), drawn for each image. A teacher
    sees the blended images, so that its answers need no blending.

    Source: Zhang, Cisse, Dauphin, Lopez-Paz, mixup, 2017, arXiv 1710.09412.

    Args:
        images: Normalized, (N, C, H, W).
        sure: 1 for an image's class and 0 for the others, (N, classes).
        mixup: The distribution's parameter, > 0: small ones leave most images nearly alone.
        rng: Draws shares and partners.
    """
    count = len(images)
    share = rng.beta(mixup, mixup, (count, 1)).astype(np.float32)
    other = rng.permutation(count)
    wide = share[:, :, None, None]
    return wide * images + (1 - wide) * images[other], share * sure + (1 - share) * sure[other]
