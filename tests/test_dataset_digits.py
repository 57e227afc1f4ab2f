from itertools import combinations

import numpy as np
import pytest

from paredown.dataset import Dataset
from paredown.dataset.digits import Digits, enlarge
from paredown.errors import ConfigError


def test_a_grey_value_becomes_a_block_of_four_by_four_in_three_channels() -> None:
    grey = np.random.default_rng(0).integers(0, 17, (2, 8, 8)).astype(float)
    grey[0, 0, :2] = 0, 16
    images = enlarge(grey)
    assert (images.shape, images.dtype) == ((2, 3, 32, 32), np.uint8)
    for index in np.ndindex(images.shape):
        image, _, row, column = index
        assert images[index] == int(grey[image, row // 4, column // 4] * 255 / 16)


def test_the_digits_are_split_60_20_20_and_every_class_is_in_each(digits: Dataset) -> None:
    splits = digits.train, digits.val, digits.test
    assert sum(map(len, splits)) == 1797
    assert [round(len(split) / 1797, 2) for split in splits] == [0.6, 0.2, 0.2]
    assert all(set(split.labels) == set(range(10)) for split in splits)
    assert digits.input_shape == (3, 32, 32)


def test_no_image_of_one_split_is_in_another(digits: Dataset) -> None:
    seen = [
        {image.tobytes() for image in split.images}
        for split in (digits.train, digits.val, digits.test)
    ]
    assert not any(first & second for first, second in combinations(seen, 2))


def test_normalized_training_digits_have_mean_0_and_deviation_1(digits: Dataset) -> None:
    pixels = digits.normalize(digits.train.images)
    assert pixels.mean() == pytest.approx(0, abs=0.01)
    assert pixels.std() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("split_seed", "crop", "named"), [(-1, 0, "split_seed"), (0, -1, "crop"), (0, 17, "crop")]
)
def test_a_value_out_of_range_is_refused_by_name(split_seed: int, crop: int, named: str) -> None:
    with pytest.raises(ConfigError, match=f"^{named} must"):
        Digits(split_seed=split_seed, crop=crop)


def test_the_file_that_is_read_is_what_scikit_learn_loads() -> None:
    from sklearn.datasets import load_digits

    from paredown.dataset.digits import _file

    table, bunch = np.loadtxt(_file(), delimiter=","), load_digits()
    assert np.array_equal(table[:, :-1], bunch.data)
    assert np.array_equal(table[:, -1], bunch.target)
