import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from paredown.dataset import Batch, Dataset, Split
from paredown.measure.footprint import layers, macs, params, size_mb
from paredown.measure.quality import BATCH, accuracy, answer
from paredown.measure.statistics import wilson

Z = 1.959963984540054
SHARES = st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (1, 29, 0.0061, 0.1718),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_the_interval_is_the_published_one(hits: int, count: int, low: float, high: float) -> None:
    assert wilson(hits, count) == pytest.approx((low, high), abs=5e-5)


@given(SHARES)
def test_the_interval_brackets_the_share_and_lies_in_0_to_1(share: tuple[int, int]) -> None:
    hits, count = share
    low, high = wilson(hits, count)
    assert 0 <= low <= hits / count + 1e-12
    assert hits / count - 1e-12 <= high <= 1
    assert low < high


@given(SHARES)
def test_each_bound_is_the_share_that_the_sample_is_z_deviations_from(
    share: tuple[int, int],
) -> None:
    hits, count = share
    for bound in wilson(hits, count):
        deviation = math.sqrt(max(0.0, bound * (1 - bound)) / count)
        assert abs(hits / count - bound) == pytest.approx(Z * deviation, abs=1e-6)


@given(SHARES)
def test_misses_have_the_mirrored_interval(share: tuple[int, int]) -> None:
    hits, count = share
    low, high = wilson(hits, count)
    assert wilson(count - hits, count) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@pytest.fixture(scope="module")
def told() -> Dataset:
    """Images of one pixel, whose brightness is their label; more than one batch of them."""
    labels = np.random.default_rng(0).integers(0, 5, BATCH + 44)
    split = Split(labels.astype(np.uint8).reshape(-1, 1, 1, 1), labels)
    return Dataset("told", split, split, split, tuple("abcde"), mean=(0.0,), std=(1.0,))


def knows(images: Batch) -> np.ndarray:
    return np.eye(5, dtype=np.float32)[np.rint(images[:, 0, 0, 0] * 255).astype(int)]


def test_answers_come_in_the_order_of_the_split(told: Dataset) -> None:
    logits = answer(knows, told, told.val)
    assert np.array_equal(logits.argmax(axis=1), told.val.labels)


def test_accuracy_is_the_share_of_right_answers_with_its_interval(told: Dataset) -> None:
    found = accuracy(lambda images: knows(images)[:, [0, 1, 2, 4, 3]], told, told.val)
    hits = int((told.val.labels < 3).sum())
    low, high = wilson(hits, len(told.val))
    assert found == {"accuracy": hits / 300, "accuracy_low": low, "accuracy_high": high}


def test_size_is_what_stat_says_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(bytes(1234))
    (tmp_path / "inner" / "b").write_bytes(bytes(766))
    assert size_mb(tmp_path) == 0.002


def test_params_and_macs_of_cnn4_are_those_counted_by_hand(cnn4: nn.Module) -> None:
    widths, sides = [3, 32, 64, 128, 256], [32, 16, 8, 4]
    products = [ins * outs * 9 for ins, outs in pairwise(widths)]
    assert params(cnn4) == sum(products) + 2 * sum(widths[1:]) + 256 * 10 + 10
    per_image = sum(weights * side**2 for weights, side in zip(products, sides, strict=True))
    assert macs(cnn4, (3, 32, 32)) == per_image + 256 * 10


def test_macs_of_a_grouped_convolution_fall_with_its_groups() -> None:
    dense, grouped = (nn.Conv2d(8, 8, 3, padding=1, groups=groups) for groups in (1, 4))
    assert macs(dense, (8, 6, 6)) == 4 * macs(grouped, (8, 6, 6)) == 8 * 8 * 9 * 36


def test_layers_tell_channels_and_macs_of_every_convolution_and_matrix(whole: nn.Module) -> None:
    found = layers(whole, (3, 32, 32))
    parts = dict(whole.named_modules())
    kinds = (nn.Conv2d, nn.Linear)
    assert list(found) == [name for name, part in parts.items() if isinstance(part, kinds)]
    assert all(layer["channels"] == parts[name].weight.shape[0] for name, layer in found.items())
    assert sum(layer["macs"] for layer in found.values()) == macs(whole, (3, 32, 32))


class Asked(nn.Module):
    """A learned query, expanded and projected, as attention pooling does."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.head = nn.Parameter(torch.ones(1, 4)), nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.query.expand(len(images), -1))


def test_macs_of_an_expanded_parameter_are_counted() -> None:
    assert macs(Asked(), (3, 8, 8)) == 40
