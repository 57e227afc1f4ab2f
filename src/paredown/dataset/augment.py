"""How training shows images: shifted, mirrored, and blended with one another."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from paredown.errors import require

Images = NDArray[np.uint8]
Batch = NDArray[np.float32]


def check(crop: int, mixup: float, size: int) -> None:
    """Raise ConfigError for what cannot work.

    Args:
        crop: As in `draw_ways`.
        mixup: As in `blend`; 0 for none.
        size: Of an image's side, in pixels.
    """
    require(0 <= crop <= size // 2, "crop", f"lie in 0..{size // 2} pixels", crop)
    require(0 <= mixup < math.inf, "mixup", "be at least 0", mixup, "0.2 is usual, 0 blends none")


class Ways(NamedTuple):
    """How each of N images is shown.

    Args:
        shifts: Down and right, 0 to 2 * crop with crop as the middle, (2, N); None: not shifted.
        mirrored: Left to right, (N,); None: none is.
    """

    shifts: NDArray[np.int64] | None
    mirrored: NDArray[np.bool_] | None

    def take(self, picked: slice | NDArray[np.int64]) -> "Ways":
        """Give the ways of some of the images."""
        return Ways(
            None if self.shifts is None else self.shifts[:, picked],
            None if self.mirrored is None else self.mirrored[picked],
        )


def draw_ways(count: int, crop: int, flip: bool, rng: np.random.Generator) -> Ways:
    """Draw shifts of up to `crop` pixels in both directions, and which half is mirrored."""
    shifts = rng.integers(0, 2 * crop + 1, size=(2, count)) if crop else None
    return Ways(shifts, rng.random(count) < 0.5 if flip else None)


def show(images: Images, crop: int, ways: Ways) -> Images:
    """Show each image, (N, C, H, W), its own way; black comes in where it is moved."""
    if ways.shifts is not None:
        count, _, height, width = images.shape
        padded = np.pad(images, ((0, 0), (0, 0), (crop, crop), (crop, crop)))
        top, left = ways.shifts[..., None]
        rows, columns = top + np.arange(height), left + np.arange(width)
        pick = np.arange(count)[:, None, None], slice(None), rows[:, :, None], columns[:, None]
        images = padded[pick].transpose(0, 3, 1, 2)  # fancy indices put the channels last
    if ways.mirrored is not None:
        images = np.where(ways.mirrored[:, None, None, None], images[..., ::-1], images)
    return images


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
