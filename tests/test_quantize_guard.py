"""A file that collapsed is caught, and mended by the ladder, on real images and a real engine."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paredown.dataset import Dataset, Split
from paredown.errors import RunError
from paredown.model.cnn4 import Cnn4
from paredown.model.torchvision import Torchvision
from paredown.quantize.layers import resolved
from paredown.quantize.recipe import recipe
from paredown.run import guard
from paredown.run.guard import Guarded
from paredown.runtime.onnxruntime import OnnxRuntime
from paredown.training import Training
from paredown.training.baseline import Baseline
from paredown.variant import Context, Numerics, Variant

RUNTIME = OnnxRuntime(threads=1, name="onnxruntime")
SETTINGS = {
    "bits": 8,
    "per_channel": True,
    "symmetric": False,
    "range": "minmax",
    "bias_correction": False,
    "calibration_images": 8,
    "keep_float": [],
}


def asked(ladder: list[dict], max_drop: float = 0.02, **changed: object) -> Numerics:
    return recipe("int8", "static", max_drop, ladder, **{**SETTINGS, **changed})


def first_images(digits: Dataset, images: np.ndarray) -> Dataset:
    """Put images at the head of the train split, where calibration takes its own."""
    train = np.concatenate([images, digits.train.images])
    labels = np.concatenate([digits.train.labels[: len(images)], digits.train.labels])
    return replace(digits, train=Split(train, labels))


@pytest.fixture(scope="module")
def black(digits: Dataset) -> Dataset:
    """The digits, but eight black images are what calibration sees first."""
    return first_images(digits, np.zeros_like(digits.train.images[:8]))


@pytest.fixture(scope="module")
def variant(digits: Dataset, training: Training) -> Variant:
    stage = Baseline(Cnn4(width=8, name="cnn4"), replace(training, epochs=3))
    return stage(None, Context(digits, 0, lambda: None, "baseline"))


@pytest.fixture(scope="module")
def float32(variant: Variant, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("float32")
    RUNTIME.lower(variant, digits, folder)
    return folder


@pytest.fixture
def lower(variant: Variant, float32: Path, tmp_path: Path) -> Callable[..., Guarded]:
    def into(numerics: Numerics, dataset: Dataset) -> Guarded:
        made = replace(variant, numerics=numerics)
        return guard.lower(RUNTIME, made, dataset, tmp_path, float32, float32)

    return into


def test_a_good_recipe_is_kept_and_nothing_else_is_tried(
    lower: Callable[..., Guarded], digits: Dataset
) -> None:
    found = lower(asked([{"range": "mse"}], calibration_images=128), digits)
    assert [each.recipe for each in found.outcomes] == ["as asked"]
    assert found.chosen.integer == found.chosen.layers == 5
    assert found.chosen.agreement > 0.97


def test_a_collapse_is_caught_and_mended_and_the_file_is_the_mended_one(
    lower: Callable[..., Guarded],
    black: Dataset,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    found = lower(asked([{"range": "percentile"}, {"calibration_images": 256}, {}]), black)
    assert [each.recipe for each in found.outcomes] == [
        "as asked",
        "range=percentile",
        "calibration_images=256",
    ]
    assert found.outcomes[0].drop > 0.3
    assert found.chosen == found.outcomes[2]
    assert found.chosen.drop <= 0.02
    program = RUNTIME.load(tmp_path)
    answers = program(black.normalize(black.val.images)).argmax(axis=1)
    assert (answers == black.val.labels).mean() == found.chosen.accuracy
    assert "loses" in caplog.text
    assert "kept the recipe calibration_images=256" in caplog.text


def test_where_nothing_helps_the_best_is_kept_and_the_loss_is_told(
    lower: Callable[..., Guarded], black: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    ladder = [{"symmetric": True}, {"range": "percentile"}]
    found = lower(asked(ladder, max_drop=0.0, calibration_images=1), black)
    assert len(found.outcomes) == 3
    assert found.chosen.drop == min(each.drop for each in found.outcomes)
    assert any(record.levelname == "WARNING" and "kept" in record.message
               for record in caplog.records)  # fmt: skip


def test_rungs_that_the_runtime_lacks_are_passed_over(
    lower: Callable[..., Guarded], black: Dataset
) -> None:
    found = lower(asked([{"bias_correction": True}, {"calibration_images": 256}]), black)
    assert [each.recipe for each in found.outcomes] == ["as asked", "calibration_images=256"]


@pytest.fixture
def masked(digits: Dataset, tmp_path: Path) -> Callable[..., Guarded]:
    """Lower attention with a mask of -inf, whose range no histogram takes."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.head = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 10)
            self.register_buffer("mask", torch.full((16, 16), -torch.inf).triu(1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            x = self.patch(images).flatten(2).transpose(1, 2)
            seen = (x @ x.transpose(1, 2) + self.mask).softmax(-1) @ x
            return self.head(seen.mean(1))

    torch.manual_seed(0)
    made = Variant(Masked().eval(), Cnn4(width=8, name="cnn4"))
    (tmp_path / "float32").mkdir()
    (tmp_path / "int8").mkdir()
    RUNTIME.lower(made, digits, tmp_path / "float32")

    def into(numerics: Numerics) -> Guarded:
        before, folder = tmp_path / "float32", tmp_path / "int8"
        asked = replace(made, numerics=numerics)
        return guard.lower(RUNTIME, asked, digits, folder, before, before)

    return into


def test_a_rung_that_fails_is_passed_over_and_named(
    masked: Callable[..., Guarded], caplog: pytest.LogCaptureFixture
) -> None:
    found = masked(asked([{"range": "minmax"}], range="percentile"))
    assert [one.recipe for one in found.outcomes] == ["range=minmax"]
    ((recipe, reason),) = found.failures
    assert recipe == "as asked"
    assert "inf" in reason
    assert found.describe()["failed"] == [{"recipe": "as asked", "reason": reason}]
    assert "int8 (as asked) is skipped" in caplog.text


def test_where_every_rung_fails_the_first_reason_is_told_in_one_line(
    masked: Callable[..., Guarded],
) -> None:
    with pytest.raises(RunError, match=r"^ONNX Runtime cannot quantize the network to int8: .*inf"):
        masked(asked([{"range": "entropy"}], range="percentile"))


def test_dynamic_int8_says_that_most_layers_stayed_as_they_were(
    lower: Callable[..., Guarded], digits: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    found = lower(recipe("int8-dynamic", "dynamic", 1.0, (), per_channel=True), digits)
    assert (found.chosen.integer, found.chosen.layers) == (1, 5)
    assert "converted 1 of 5 layers" in caplog.text


@pytest.mark.slow
def test_mobilenet_v3_calibrated_on_eight_images_of_one_class_by_tensor_is_mended(
    digits: Dataset, training: Training, tmp_path: Path
) -> None:
    source = Torchvision("mobilenet_v3_small")
    stage = Baseline(source, replace(training, epochs=8, batch_size=16, learning_rate=0.003))
    variant = stage(None, Context(digits, 0, lambda: None, "baseline"))
    one_class = digits.train.images[digits.train.labels == 1][:8]
    dataset = first_images(digits, one_class)
    float32, int8 = tmp_path / "float32", tmp_path / "int8"
    float32.mkdir()
    int8.mkdir()
    RUNTIME.lower(variant, dataset, float32)
    ladder = [
        {"calibration_images": 1024},
        {"per_channel": True},
        {"calibration_images": 1024, "per_channel": True},
        {"calibration_images": 1024, "per_channel": True, "range": "mse"},
        {"calibration_images": 1024, "per_channel": True, "keep_float": ["first", "last"]},
    ]
    bad = asked(ladder, per_channel=False)
    made = replace(variant, numerics=resolved(bad, variant.module, digits.input_shape))
    found = guard.lower(RUNTIME, made, dataset, int8, float32, float32)
    assert found.outcomes[0].drop > 0.02
    assert found.chosen.drop <= 0.02
    assert found.chosen != found.outcomes[0]
