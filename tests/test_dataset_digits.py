from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paredown.dataset import Dataset
from paredown.dataset.digits import Digits, enlarge, stratify
from paredown.errors import ConfigError

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=200).map(np.array)
FRACTIONS = st.sampled_from([(0.6, 0.2), (0.5,), (0.1, 0.1, 0.1)])


@given(LABELS, FRACTIONS, st.integers(0, 99))
def test_a_split_holds_each_index_once(
    labels: np.ndarray, fractions: tuple[float, ...], seed: int
) -> None:
    parts = stratify(labels, fractions, seed)
    assert len(parts) == len(fractions) + 1
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))


@given(LABELS, FRACTIONS, st.integers(0, 99))
def test_each_part_has_its_share_of_each_class_within_one_image(
    labels: np.ndarray, fractions: tuple[float, ...], seed: int
) -> None:
    shares = (*fractions, 1 - sum(fractions))
    for part, share in zip(stratify(labels, fractions, seed), shares, strict=True):
        for label in np.unique(labels):
            asked = share * (labels == label).sum()
            assert abs((labels[part] == label).sum() - asked) <= 1 + 1e-9


def test_another_seed_splits_otherwise_and_the_same_one_alike() -> None:
    labels = np.arange(200) % 5
    first, again, other = (stratify(labels, (0.5,), seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


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
        Digits(split_seed, crop)


def test_the_file_that_is_read_is_what_scikit_learn_loads() -> None:
    from sklearn.datasets import load_digits

    from paredown.dataset.digits import _file

    table, bunch = np.loadtxt(_file(), delimiter=","), load_digits()
    assert np.array_equal(table[:, :-1], bunch.data)
    assert np.array_equal(table[:, -1], bunch.target)
