import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paredown.dataset import Dataset, Split
from paredown.distill import check_views
from paredown.distill.knowledge import Knowledge
from paredown.distill.soft_targets import FILE, load, precompute
from paredown.errors import ConfigError
from paredown.model.cnn4 import Cnn4
from paredown.prune.structured import Structured
from paredown.run.path import VariantPath
from paredown.runtime.onnxruntime import OnnxRuntime
from paredown.store.local import Store
from paredown.training import Training
from paredown.training.baseline import Baseline

SOURCE = Cnn4(width=8, name="small")


@pytest.fixture
def shown(few: Dataset) -> Dataset:
    return replace(few, crop=2, flip=True)


def test_a_batch_holds_what_the_teacher_says_to_its_images(
    shown: Dataset, cnn4: nn.Module, training: Training, tmp_path: Path
) -> None:
    precompute(cnn4, shown, 2, training, tmp_path / FILE)
    soft_targets = load(shown, tmp_path)
    assert soft_targets.logits.shape == (2, 64, 10)
    assert isinstance(soft_targets.logits, np.memmap)  # 8 views of ImageNet are 41 GB
    indices = np.array([5, 0, 63])
    for epoch in (0, 1, 2):
        batch = soft_targets.draw(indices, epoch)
        with torch.no_grad():
            expected = cnn4(batch.images)
        assert torch.allclose(batch.teacher_logits, expected, atol=1e-5)
        assert batch.labels.tolist() == shown.train.labels[indices].tolist()


def test_epochs_take_the_views_in_turn(
    shown: Dataset, cnn4: nn.Module, training: Training, tmp_path: Path
) -> None:
    precompute(cnn4, shown, 2, training, tmp_path / FILE)
    first, second, third = (
        load(shown, tmp_path).draw(np.arange(64), epoch).images for epoch in range(3)
    )
    assert torch.equal(first, third)
    same = [torch.equal(one, other) for one, other in zip(first, second, strict=True)]
    assert sum(same) < 16  # of 50 ways to show an image


def test_a_view_of_a_data_set_without_augmentation_is_its_images(few: Dataset) -> None:
    plain = replace(few, crop=0, flip=False)
    assert np.array_equal(
        plain.augmented_view(slice(None), plain.view(3)), plain.normalize(plain.train.images)
    )


def path(dataset: Dataset, training: Training, store: Store, structured: Structured) -> VariantPath:
    own = replace(training, epochs=2)
    stages = {
        "baseline": Baseline(SOURCE, own),
        "distill": Knowledge(SOURCE, own, 4.0, 0.7, 2),
        "prune": replace(structured, views=2, round_to=1),
    }
    return VariantPath(stages, dataset, OnnxRuntime(1, "onnxruntime"), store, 0)


def test_the_teacher_is_asked_once_by_all_stages_and_all_runs(
    shown: Dataset,
    training: Training,
    structured: Structured,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        made = path(shown, training, Store(tmp_path), structured).variant(2).module
        other = replace(structured, amount=0.25)
        path(shown, training, Store(tmp_path), other).variant(2)
    assert caplog.text.count("soft targets for 64 images in 2 views") == 1
    with caplog.at_level(logging.INFO):
        again = path(shown, training, Store(tmp_path / "fresh"), structured).variant(2).module
    assert caplog.text.count("soft targets for 64 images in 2 views") == 2
    states = zip(made.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(*pair) for pair in states)


def test_the_weight_of_kept_answers_matters(
    shown: Dataset, training: Training, structured: Structured, tmp_path: Path
) -> None:
    one, other = (
        path(shown, training, Store(tmp_path), replace(structured, alpha=alpha)).variant(2).module
        for alpha in (0.0, 0.7)
    )
    states = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    assert not all(torch.equal(*pair) for pair in states)


class Cropped:
    digest, crops = "made", True

    def __init__(self, images: np.ndarray) -> None:
        self.images, self.shape = images, images.shape


def test_views_that_cannot_be_kept_are_refused(few: Dataset) -> None:
    check_views(4, few)
    blended = replace(few, mixup=0.2)
    check_views(None, blended)
    with pytest.raises(ConfigError, match=r"^distill\.views must be null where training blends"):
        check_views(4, blended)
    cropped = replace(few, train=Split(Cropped(few.train.images), few.train.labels))
    with pytest.raises(ConfigError, match=r"^distill\.views must be null where training crops"):
        check_views(4, cropped)


@pytest.mark.parametrize("views", [0, -1, 101])
def test_a_number_of_views_that_cannot_be_is_refused(
    structured: Structured, training: Training, views: int
) -> None:
    with pytest.raises(ConfigError, match=r"^views must lie in 1\.\.100"):
        replace(structured, views=views)
    with pytest.raises(ConfigError, match=r"^views must lie in 1\.\.100"):
        Knowledge(SOURCE, training, 4.0, 0.7, views)
