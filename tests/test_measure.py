import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from torch import Tensor, nn

from paredown.dataset import Batch, Dataset, Split
from paredown.measure import footprint
from paredown.measure.footprint import layers, macs, params, size_mb
from paredown.measure.quality import BATCH, accuracy, predict
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
def test_the_interval_is_the_one_of_scipy(share: tuple[int, int]) -> None:
    reference = binomtest(*share).proportion_ci(method="wilson")
    assert wilson(*share) == pytest.approx((reference.low, reference.high), abs=1e-12)


@given(SHARES)
def test_misses_have_the_mirrored_interval(share: tuple[int, int]) -> None:
    hits, count = share
    low, high = wilson(hits, count)
    assert wilson(count - hits, count) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@pytest.fixture(scope="module")
def graded() -> Dataset:
    """Images of one pixel, whose brightness is their label; more than one batch of them."""
    labels = np.random.default_rng(0).integers(0, 5, BATCH + 44)
    split = Split(labels.astype(np.uint8).reshape(-1, 1, 1, 1), labels)
    return Dataset("graded", split, split, split, tuple("abcde"), mean=(0.0,), std=(1.0,))


def reads(images: Batch) -> np.ndarray:
    return np.eye(5, dtype=np.float32)[np.rint(images[:, 0, 0, 0] * 255).astype(int)]


def test_predictions_come_in_the_order_of_the_split(graded: Dataset) -> None:
    logits = predict(reads, graded, graded.val)
    assert np.array_equal(logits.argmax(axis=1), graded.val.labels)


def test_accuracy_is_the_share_of_right_classes_with_its_interval(graded: Dataset) -> None:
    result = accuracy(lambda images: reads(images)[:, [0, 1, 2, 4, 3]], graded, graded.val)
    hits = int((graded.val.labels < 3).sum())
    low, high = wilson(hits, len(graded.val))
    assert result == {"accuracy": hits / 300, "accuracy_low": low, "accuracy_high": high}


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


def test_a_footprint_has_every_measure_of_the_files_and_their_network(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(32, 10))
    with torch.no_grad():
        network[0].weight.zero_()  # 6 of 326 weights
    (tmp_path / "model").write_bytes(bytes(1_000_000))
    cost = footprint.of(tmp_path, network, (3, 4, 4))
    assert cost.pop("compressed_mb") < 0.01
    assert cost.pop("zeros") == pytest.approx(6 / 326)
    assert cost == {"size_mb": 1.0, "params": 6 + 2 + 320 + 10, "macs": 6 * 16 + 320}


def test_macs_of_a_grouped_convolution_fall_with_its_groups() -> None:
    dense, grouped = (nn.Conv2d(8, 8, 3, padding=1, groups=groups) for groups in (1, 4))
    assert macs(dense, (8, 6, 6)) == 4 * macs(grouped, (8, 6, 6)) == 8 * 8 * 9 * 36


def test_layers_have_channels_and_macs_of_every_convolution_and_matrix(whole: nn.Module) -> None:
    rows = layers(whole, (3, 32, 32))
    modules = dict(whole.named_modules())
    kinds = (nn.Conv2d, nn.Linear)
    assert list(rows) == [name for name, module in modules.items() if isinstance(module, kinds)]
    assert all(row["channels"] == modules[name].weight.shape[0] for name, row in rows.items())
    assert sum(row["macs"] for row in rows.values()) == macs(whole, (3, 32, 32))


class Query(nn.Module):
    """A learned query, expanded and projected, as attention pooling does."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.head = nn.Parameter(torch.ones(1, 4)), nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.query.expand(len(images), -1))


def test_macs_of_an_expanded_parameter_are_counted() -> None:
    assert macs(Query(), (3, 8, 8)) == 40
