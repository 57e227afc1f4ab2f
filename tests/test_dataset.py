from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paredown.dataset import Dataset, Split
from paredown.dataset.preprocessing import Resize

RNG = np.random.default_rng
PIXELS = RNG(1).integers(1, 256, (40, 2, 5, 7), dtype=np.uint8)  # no black but what a shift adds


def dataset(
    crop: int = 0, flip: bool = False, images: np.ndarray = PIXELS, mixup: float = 0.0
) -> Dataset:
    split, names = Split(images, np.arange(len(images)) % 3), ("a", "b", "c")
    return Dataset("made", split, split, split, names, (0.5, 0.25), (0.2, 0.5), crop, flip, mixup)


def shifted(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """Move an image pixel by pixel; black comes in."""
    _, height, width = image.shape
    moved = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                moved[:, row, column] = image[:, row - down, column - right]
    return moved


def shifts_between(image: np.ndarray, moved: np.ndarray, crop: int) -> list[tuple[int, int]]:
    steps = range(-crop, crop + 1)
    pairs = ((down, right) for down in steps for right in steps)
    return [pair for pair in pairs if np.array_equal(shifted(image, *pair), moved)]


def test_normalized_pixels_are_those_worked_out_by_hand() -> None:
    images = np.array([[[[0, 255]], [[51, 102]]]], np.uint8)  # 0, 1; 0.2, 0.4
    found = dataset().normalize(images)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array([[[[-2.5, 2.5]], [[-0.1, 0.3]]]]), abs=1e-6)


def test_normalized_images_lie_in_memory_as_they_read_even_where_channels_share_it() -> None:
    grey = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 1, 4, 4)
    shared = np.broadcast_to(grey, (2, 3, 4, 4))
    wide = replace(dataset(), mean=(0.5,) * 3, std=(0.25,) * 3)
    found = wide.normalize(shared)
    assert found.flags.c_contiguous
    assert np.array_equal(found, wide.normalize(shared.copy()))


@given(st.integers(0, 2**32))
def test_augmentation_without_crop_and_flip_changes_nothing(seed: int) -> None:
    assert np.array_equal(dataset().augment(PIXELS, RNG(seed)), PIXELS)


@pytest.mark.parametrize("crop", [1, 3])
def test_every_cropped_image_is_a_shift_of_its_original(crop: int) -> None:
    moved = dataset(crop).augment(PIXELS, RNG(0))
    assert moved.shape == PIXELS.shape
    assert moved.dtype == np.uint8
    found = [shifts_between(*pair, crop) for pair in zip(PIXELS, moved, strict=True)]
    assert all(len(shifts) == 1 for shifts in found)


def test_every_shift_up_to_the_crop_comes_up() -> None:
    images = PIXELS[:1].repeat(300, axis=0)
    moved = dataset(crop=1).augment(images, RNG(0))
    found = {shifts_between(PIXELS[0], image, 1)[0] for image in moved}
    assert found == {(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)}


def test_flip_mirrors_half_of_the_images_and_leaves_the_others() -> None:
    images = RNG(2).integers(0, 256, (1000, 1, 2, 3), dtype=np.uint8)
    found = dataset(flip=True, images=images).augment(images, RNG(0))
    same = (found == images).all(axis=(1, 2, 3))
    mirrored = (found == images[..., ::-1]).all(axis=(1, 2, 3))
    assert (same | mirrored).all()
    assert 400 < mirrored.sum() < 600


def test_blended_images_and_labels_are_the_same_mean_of_the_same_two() -> None:
    plain, data = dataset(), dataset(mixup=0.5)
    picked = np.arange(40)
    images, labels = data.draw(picked, RNG(0))
    assert (images.dtype, labels.dtype) == (np.float32, np.float32)
    assert labels.sum(axis=1) == pytest.approx(1)
    rng = RNG(0)
    share, other = rng.beta(0.5, 0.5, (40, 1)).astype(np.float32), rng.permutation(40)
    whole = plain.normalize(PIXELS)
    for at in range(40):
        mean = share[at] * whole[at] + (1 - share[at]) * whole[other[at]]
        assert images[at] == pytest.approx(mean, abs=1e-5)
        sure = np.zeros(3)
        sure[at % 3] += share[at, 0]
        sure[other[at] % 3] += 1 - share[at, 0]
        assert labels[at] == pytest.approx(sure, abs=1e-6)


def test_without_blending_labels_are_numbers() -> None:
    images, labels = dataset(crop=1, flip=True).draw(np.array([3, 1]), RNG(0))
    assert labels.tolist() == [0, 1]
    augmented = dataset(crop=1, flip=True).augment(PIXELS[[3, 1]], RNG(0))
    assert np.array_equal(images, dataset().normalize(augmented))


def test_augmentation_leaves_the_images_it_was_given_alone() -> None:
    before = PIXELS.copy()
    dataset(crop=2, flip=True).augment(PIXELS, RNG(0))
    assert np.array_equal(PIXELS, before)


def test_equal_data_have_an_equal_fingerprint() -> None:
    assert dataset().fingerprint == dataset(images=PIXELS.copy()).fingerprint


def change(what: str) -> Dataset:
    whole = dataset()
    images, labels = PIXELS.copy(), whole.train.labels.copy()
    images[-1, -1, -1, -1] ^= 1
    labels[0] = 2
    return {
        "a pixel": replace(whole, test=Split(images, whole.train.labels)),
        "a label": replace(whole, val=Split(PIXELS, labels)),
        "a class name": replace(whole, classes=("a", "b", "d")),
        "normalization": replace(whole, std=(0.2, 0.6)),
        "crop": replace(whole, crop=1),
        "flip": replace(whole, flip=True),
        "mixup": replace(whole, mixup=0.2),
        "a centre": replace(whole, resize=Resize("crop", 0.9)),
        "bars": replace(whole, resize=Resize("letterbox")),
        "a filter": replace(whole, resize=Resize("stretch", None, "bicubic")),
        "an image's shape": dataset(images=PIXELS.reshape(40, 2, 7, 5)),
    }[what]


@pytest.mark.parametrize(
    "what",
    [
        "a pixel",
        "a label",
        "a class name",
        "normalization",
        "crop",
        "flip",
        "mixup",
        "a centre",
        "bars",
        "a filter",
        "an image's shape",
    ],
)
def test_whatever_changes_what_is_learnt_changes_the_fingerprint(what: str) -> None:
    assert change(what).fingerprint != dataset().fingerprint
