import logging
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from paredown.dataset import Dataset, Split
from paredown.distill.loss import teacher_loss
from paredown.errors import ConfigError, RunError
from paredown.host import machine
from paredown.model.cnn4 import Cnn4
from paredown.model.torchvision import Torchvision
from paredown.training import Training
from paredown.training.baseline import Baseline
from paredown.training.loop import Batch, fit, resolve_precision
from paredown.variant import Context, Variant

SOURCE = Cnn4(width=8, name="small")


def train(training: Training, dataset: Dataset, seed: int = 0) -> Variant:
    stage = Baseline(SOURCE, training)
    return stage(None, Context(dataset, seed, nn.Module, "baseline"))


def cross_entropy(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    return F.cross_entropy(logits, batch.labels)


def equal(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_bits(
    training: Training, few: Dataset, precision: str
) -> None:
    training = replace(training, precision=precision)
    first = train(training, few)
    torch.manual_seed(99)  # whatever ran before
    second = train(training, few)
    assert equal(first.module, second.module)
    assert first.curves == second.curves


def test_another_seed_gives_other_weights(training: Training, few: Dataset) -> None:
    assert not equal(train(training, few, 0).module, train(training, few, 1).module)


def test_a_seed_draws_the_order_of_the_images_too(training: Training, few: Dataset) -> None:
    torch.manual_seed(0)
    modules = [SOURCE.build(10, (3, 32, 32)) for _ in range(2)]
    modules[1].load_state_dict(modules[0].state_dict())
    for seed, module in enumerate(modules):
        fit(training, module, few, cross_entropy, seed, "")
    assert not equal(*modules)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_training_lowers_the_loss_and_tells_one_point_an_epoch(
    training: Training, few: Dataset, schedule: str
) -> None:
    curves = train(replace(training, epochs=6, schedule=schedule), few).curves
    assert len(curves) == 6
    assert curves[-1]["loss"] < 0.8 * curves[0]["loss"]
    assert 0 <= curves[0]["accuracy"] < curves[-1]["accuracy"] <= 1


def test_the_highest_rate_is_the_one_that_was_asked(training: Training, few: Dataset) -> None:
    rates = {
        schedule: [
            point["learning_rate"]
            for point in train(replace(training, epochs=10, schedule=schedule), few).curves
        ]
        for schedule in ("one_cycle", "cosine")
    }
    assert max(rates["one_cycle"]) == pytest.approx(0.003, rel=0.05)
    assert rates["one_cycle"].index(max(rates["one_cycle"])) == 2  # 30 % of 40 steps
    assert rates["cosine"] == sorted(rates["cosine"], reverse=True)
    assert rates["cosine"][0] == pytest.approx(0.003, rel=0.05)


def test_training_tells_its_time(
    training: Training, few: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        train(replace(training, epochs=2), few)
    assert re.search(r"baseline: 2 epochs in \d+\.\d s, \d+ images/s", caplog.text)


def test_no_epochs_change_no_weights(training: Training, few: Dataset) -> None:
    variant = train(replace(training, epochs=0), few, seed=5)
    torch.manual_seed(5)
    assert equal(variant.module, SOURCE.build(10, (3, 32, 32)))
    assert variant.curves == []
    assert not variant.module.training


def test_a_frozen_weight_stays(training: Training, few: Dataset) -> None:
    torch.manual_seed(0)
    module = SOURCE.build(10, (3, 32, 32))
    module[0].requires_grad_(False)
    frozen, free = module[0].weight.clone(), module[4].weight.clone()
    fit(training, module, few, cross_entropy, 0, "")
    assert torch.equal(module[0].weight, frozen)
    assert not torch.equal(module[4].weight, free)


def test_weight_decay_pulls_weights_but_neither_biases_nor_norms(
    training: Training, few: Dataset
) -> None:
    module = nn.Sequential(nn.Conv2d(3, 10, 32), nn.BatchNorm2d(10), nn.Flatten())
    before = {name: parameter.clone() for name, parameter in module.named_parameters()}
    silent = replace(training, weight_decay=10.0)
    fit(silent, module, few, lambda logits, *_: 0 * logits.sum(), 0, "")
    after = dict(module.named_parameters())
    assert after["0.weight"].norm() < 0.99 * before["0.weight"].norm()
    assert all(torch.equal(after[name], before[name]) for name in before if name != "0.weight")


def test_every_image_is_seen_once_an_epoch(training: Training, few: Dataset) -> None:
    seen: list[torch.Tensor] = []

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        seen.append(batch.images)
        return cross_entropy(logits, batch)

    plain = replace(few, crop=0)
    fit(training, SOURCE.build(10, (3, 32, 32)), plain, loss, 0, "")
    found = {image.contiguous().numpy().tobytes() for batch in seen for image in batch}
    expected = {image.tobytes() for image in plain.normalize(plain.train.images)}
    assert found == expected
    assert sum(map(len, seen)) == 64


class Streamed:
    """Images that are read when they are asked for, as those of a folder are."""

    digest, crops = "made", False

    def __init__(self, images: np.ndarray) -> None:
        self.images, self.shape = images, images.shape

    def __getitem__(self, picked: object) -> np.ndarray:
        return self.images[picked]

    def draw(self, picked: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self[picked]


def test_streamed_images_give_the_same_bits_as_those_in_memory(
    training: Training, few: Dataset
) -> None:
    rows = Split(Streamed(few.train.images), few.train.labels)
    streamed = train(training, replace(few, train=rows))
    assert equal(streamed.module, train(training, few).module)


def test_an_error_while_images_are_read_ends_training(training: Training, few: Dataset) -> None:
    class Broken(Streamed):
        def draw(self, picked: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            raise RunError("gone")

    broken = replace(few, train=Split(Broken(few.train.images), few.train.labels))
    with pytest.raises(RunError, match="gone"):
        train(training, broken)


def test_blended_images_teach_by_labels_and_by_a_teacher(training: Training, few: Dataset) -> None:
    blended = replace(few, mixup=0.4)
    curves = train(replace(training, epochs=6), blended).curves
    assert curves[-1]["loss"] < curves[0]["loss"]
    assert curves[-1]["accuracy"] > curves[0]["accuracy"]
    teacher = train(training, few).module
    loss = teacher_loss(teacher, 4.0, 0.7, training)
    student = SOURCE.build(10, (3, 32, 32))
    points = fit(replace(training, epochs=6), student, blended, loss, 0, "")
    assert points[-1]["loss"] < points[0]["loss"]


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_a_rate_that_blows_up_ends_in_an_error_that_names_it(
    training: Training, few: Dataset, schedule: str
) -> None:
    wild = replace(training, epochs=5, learning_rate=1e9, schedule=schedule)
    with pytest.raises(RunError, match=r"^baseline: the loss became .* lower training\.learning_"):
        train(wild, few)


def resolve(precision: str, name: str, training: Training) -> str:
    with torch.device("meta"):
        network = Torchvision(name).build(10, (3, 32, 32))
    return resolve_precision(replace(training, precision=precision), network)


def test_auto_is_bfloat16_for_dense_convolutions_where_the_cpu_has_it(training: Training) -> None:
    native = {"avx512_bf16", "amx_bf16", "bf16"} & machine.instructions()
    assert resolve("auto", "resnet18", training) == ("bfloat16" if native else "float32")


def test_auto_is_float32_for_depthwise_convolutions(training: Training) -> None:
    assert resolve("auto", "mobilenet_v2", training) == "float32"


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_was_asked_for_wins(training: Training, name: str, precision: str) -> None:
    assert resolve(precision, name, training) == precision


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", -1),
        ("batch_size", 1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("weight_decay", -0.1),
        ("label_smoothing", 1.0),
        ("schedule", "linear"),
        ("precision", "float16"),
        ("device", "tpu"),
        ("threads", 0),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(
    training: Training, field: str, value: object
) -> None:
    with pytest.raises(ConfigError, match=f"^{field} must"):
        replace(training, **{field: value})


def test_a_batch_larger_than_the_train_split_is_refused(training: Training, few: Dataset) -> None:
    replace(training, batch_size=64).check(few)
    with pytest.raises(ConfigError, match=r"^training\.batch_size must be at most the 64 images"):
        replace(training, batch_size=65).check(few)
